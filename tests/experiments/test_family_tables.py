"""The table of model families shows what the rows give, and what is left to run."""

import pytest
from made_up import made_up_result

from document_tables import render
from small_vit.recipes import RECIPES
from small_vit.results.rows import append_rows, as_row
from small_vit.sweeps import SWEEPS

pytestmark = pytest.mark.any_backend


def row(name, sweep="families", recipe="fashion-mnist", seed=0, **values):
    (config,) = [arm.config for arm in SWEEPS[sweep].arms(RECIPES[recipe]()) if arm.name == name]
    config = config.replace(train={"seed": seed})
    return as_row(made_up_result(arm=name, recipe=recipe, seed=seed, **values), config)


def rendered(table, results):
    return render(f"<!-- table: {table} -->\n<!-- end -->", results)


def test_without_rows_it_names_the_commands(tmp_path):
    table = rendered("families", tmp_path)
    for recipe in ("fashion-mnist", "cpu"):
        assert f"Not yet run: `python experiments/ablation.py families --recipe {recipe}`" in table
    assert "|" not in table


def test_each_family_has_its_cost_and_its_difference_from_the_plain_vit(tmp_path):
    told = {"trainable_parameters": 270_000, "forward_flops": 61_600_000, "epochs": 3}
    vit = {"forward_flops": 20_000_000, "epochs": 8}
    rows = [row("vit", seed=seed, accuracy=0.5 + seed / 10, **vit) for seed in range(2)]
    rows += [row("resnet20", seed=seed, accuracy=0.6 + seed / 10, **told) for seed in range(2)]
    append_rows(tmp_path / "families-fashion-mnist.jsonl", rows)
    table = rendered("families", tmp_path)
    assert "| vit | 0 | 20.0 M | 55.00 ± 63.53 |  | 8 | × 1.00 | 2 |" in table
    resnet = "| resnet20 | 270,000 | 61.6 M | 65.00 ± 63.53 | +10.00 ± 0.00 | 3 | × 1.16 | 2 |"
    assert resnet in table
    assert "cct-2" not in table
    assert "The rest: `python experiments/ablation.py families --recipe fashion-mnist`" in table
    assert "Not yet run: `python experiments/ablation.py families --recipe cpu`" in table


def test_a_sweep_whose_name_has_a_hyphen_has_a_table(tmp_path):
    rows = [row("10-vit", "data-families", "cpu", accuracy=0.25)]
    append_rows(tmp_path / "data-families-cpu.jsonl", rows)
    table = rendered("data-families-cpu", tmp_path)
    assert "| 10-vit | 0 | 25.00 | – | baseline |" in table
    assert "The rest: `python experiments/ablation.py data-families --recipe cpu`" in table
