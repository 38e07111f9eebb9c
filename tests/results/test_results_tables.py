"""The interval of a mean, and the table of two arms."""

import numpy as np
import pytest
from made_up import made_up_result
from scipy import stats

from small_vit.errors import InputError
from small_vit.results.statistics import Estimate, pair_by_seed
from small_vit.results.tables import comparison_table

pytestmark = pytest.mark.any_backend


def result(arm, seed, accuracy, **changes):
    values = {
        "recipe": "keras-example",
        "dataset": "cifar100",
        "arm": arm,
        "seed": seed,
        "accuracy": accuracy,
        "top5_accuracy": 0.9,
        "trainable_parameters": 1000,
        "seconds_per_epoch": 2.0,
    }
    return made_up_result(**(values | changes))


def test_the_interval_is_students():
    values = [0.51, 0.55, 0.50]
    estimate = Estimate.of(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(estimate.mean - estimate.half_width, low)
    np.testing.assert_allclose(estimate.mean + estimate.half_width, high)


def test_one_seed_has_no_interval():
    assert Estimate.of([0.5]).percent() == "50.00"


def test_a_pair_has_one_seed_one_backend_and_one_precision():
    old = [result("vanilla", seed, 0.5, backend="a", precision="float32") for seed in range(4)]
    new = [
        result("spt+lsa", 3, 0.6, backend="a", precision="float32"),
        result("spt+lsa", 1, 0.6, backend="another", precision="float32"),
        result("spt+lsa", 2, 0.6, backend="a", precision="bfloat16"),
        result("spt+lsa", 0, 0.6, backend="a", precision="float32"),
        result("spt+lsa", 9, 0.6, backend="a", precision="float32"),
    ]
    assert pair_by_seed(old, new) == [(old[3], new[0]), (old[0], new[3])]


def test_the_difference_is_paired_by_seed():
    # Seeds differ widely, the arms by exactly 2 points in each: the paired interval is zero.
    vanilla = [result("vanilla", seed, 0.4 + 0.1 * seed) for seed in range(3)]
    improved = [result("spt+lsa", seed, 0.42 + 0.1 * seed) for seed in (2, 0, 1)]
    table = comparison_table([*improved, *vanilla])
    assert "| spt+lsa − vanilla | +0 | +2.00 ± 0.00 |" in table
    assert "53.10 / 80.53" in table
    assert "56.11 / 82.27" in table


def test_best_on_test_has_a_column_where_the_test_set_was_watched():
    watched = [
        result(arm, seed, accuracy, recipe="paper", best_on_test={"accuracy": accuracy + 0.01})
        for arm, accuracy in (("vanilla", 0.7), ("spt+lsa", 0.74))
        for seed in range(2)
    ]
    header, _, vanilla, _, difference, *_ = comparison_table(watched).splitlines()
    place = header.split("|").index(" best on test % ")
    assert vanilla.split("|")[place] == " 71.00 ± 0.00 "
    assert difference.split("|")[place] == " +4.00 ± 0.00 "
    assert "best on test" not in comparison_table([result("vanilla", 0, 0.5)])


def test_runs_of_several_experiments_are_no_table():
    short = result("spt+lsa", 0, 0.5, epochs=2, changes=["train.epochs: 50 -> 2"])
    with pytest.raises(InputError, match=r"several .*epochs: 50 -> 2"):
        comparison_table([result("vanilla", 0, 0.5), short])
    with pytest.raises(InputError, match=r"more than once: vanilla seed 3"):
        comparison_table([result("vanilla", 3, 0.5), result("vanilla", 3, 0.6)])


def test_the_caption_says_where_runs_stopped_early():
    rows = [
        result("vanilla", seed, 0.5, epochs=8, stopped_after=epochs)
        for seed, epochs in enumerate((5, 3, None, 4))
    ]
    assert "last epoch of 8, stopped after 3 to 5, mean" in comparison_table(rows)
    assert "last epoch of 8, stopped after 5, one seed" in comparison_table(rows[:1])
    assert "last epoch of 8, one seed" in comparison_table(rows[2:3])


def test_an_arm_may_change_what_the_other_has_not():
    changes = ["model.temperature: layer -> head"]
    head = result("spt+lsa", 0, 0.6, changes=changes)
    table = comparison_table([result("vanilla", 0, 0.5), head])
    assert "+10.00" in table and "changed (model.temperature: layer -> head)" in table
    with pytest.raises(InputError, match=r"several .*layer -> head"):
        comparison_table([result("vanilla", 0, 0.5), head, result("spt+lsa", 1, 0.6)])


def test_published_numbers_stand_beside_the_unchanged_recipe_only():
    table = comparison_table([result("vanilla", 0, 0.5, changes=["train.epochs: 50 -> 1"])])
    assert "53.10" not in table
    assert "changed (train.epochs: 50 -> 1)" in table
