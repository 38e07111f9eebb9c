"""The sweeps as data: their arms, the runs they come to, and what their rows show."""

import dataclasses
import warnings
from itertools import product
from pathlib import Path

import keras
import pytest
from made_up import made_up_result
from matplotlib.figure import Figure

from small_vit import ShiftedPatchTokenization, hosts
from small_vit.data import DATASETS, load_dataset
from small_vit.errors import InputError
from small_vit.files import make_folder, write_json
from small_vit.models.registry import named_model
from small_vit.plots import plot_arms, plot_over
from small_vit.recipes import (
    FOR_TRAINED_MODELS,
    RECIPES,
    cpu,
    digits,
    keras_example,
    paper,
    vanilla,
)
from small_vit.results.rows import config_hash
from small_vit.results.statistics import Estimate
from small_vit.sizes import as_pair, whole_shift
from small_vit.sweeps import SWEEPS, Sweep, plan_runs
from small_vit.sweeps.named import training_images
from small_vit.sweeps.pictures import plot_sweep
from small_vit.sweeps.plan import make_plan, read_plan, refuse_another, write_plan
from small_vit.sweeps.runner import unfinished
from small_vit.sweeps.summary import summarise, sweep_table
from small_vit.sweeps.timing import comparable, seconds_per_flop, work
from small_vit.training.prepare import split_training_images
from small_vit.training.progress import clock

pytestmark = pytest.mark.any_backend

ARMS = {
    "arms": 2,
    "start": 10,
    "parts": 8,
    "shift": 7,
    "temperature": 3,
    "position": 4,
    "pooling": 3,
    "patch": 4,
    "data": 10,
    "families": 4,
    "families-epochs": 4,
    "data-families": 12,
    "schedule": 4,
    "sam": 3,
    "fit": 3,
    "transfer": 3,
    "decay": 4,
}


def row(config, accuracy, seed=0, **changes):
    config = config.replace(train={"seed": seed})
    values = {"recipe": config.recipe, "seed": seed, "accuracy": accuracy}
    return made_up_result(**values, config_hash=config_hash(config), **changes)


def suits(sweep, recipe):
    config = RECIPES[recipe]()
    if config.model.kind != "vit":
        return False
    of_folder = config.data.dataset == "folder"
    for_trained = recipe in FOR_TRAINED_MODELS
    return {
        # Patches of 2 pixels have no quarter.
        "shift": config.model.patch_size != 2,
        # Without its folder, such a recipe does not know its images.
        "data": not of_folder,
        "families": not of_folder and not for_trained,
        "families-epochs": not for_trained,
        "data-families": not of_folder and not for_trained,
        "fit": of_folder,
        "transfer": not for_trained,
        "decay": config.train.optimizer == "adamw",
    }.get(sweep, True)


EVERY_SWEEP = [pair for pair in product(SWEEPS, RECIPES) if suits(*pair)]


@pytest.mark.parametrize(("name", "recipe"), EVERY_SWEEP)
def test_every_sweep_is_a_grid_of_different_experiments_on_every_recipe(name, recipe):
    arms = SWEEPS[name].arms(RECIPES[recipe]())
    assert len(arms) == ARMS[name]
    assert len({config_hash(arm.config) for arm in arms}) == len(arms)
    assert {arm.baseline for arm in arms} < {arm.name for arm in arms}
    assert all(arm.config.recipe == recipe for arm in arms)
    assert not any(character in arm.name for arm in arms for character in "/ ")


def test_no_recipe_and_no_arm_of_a_sweep_ignores_pixels():
    names = ("image_size", "patch_size", "stride", "shifts", "shift_ratio")
    arms = [arm for name, recipe in EVERY_SWEEP for arm in SWEEPS[name].arms(RECIPES[recipe]())]
    models = [arm.config.model for arm in arms if arm.config.model.kind == "vit"]
    tokenizations = {tuple(getattr(model, name) for name in names) for model in models}
    assert len(tokenizations) > 20
    for values in tokenizations:
        layer = ShiftedPatchTokenization(
            **dict(zip(names, values, strict=True)), projection_dim=1, patch_norm=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            layer.build((None, *as_pair(layer.image_size), 3))


@pytest.mark.parametrize(
    ("recipe", "pixels"), [("cpu", [1, 2, 3, 4]), ("keras-example", [1, 3, 4, 6])]
)
def test_each_shift_is_another(recipe, pixels):
    models = [arm.config.model for arm in SWEEPS["shift"].arms(RECIPES[recipe]())]
    diagonal = [model for model in models if model.shifts == "diagonal"]
    found = [whole_shift(model.patch_size, model.shift_ratio) for model in diagonal]
    assert found == [(side, side) for side in pixels]


def test_a_shift_below_a_pixel_is_refused():
    with pytest.raises(InputError, match=r"shift_ratio.*patch_size=2 at least. Received: 0.25"):
        SWEEPS["shift"].arms(digits())


def test_the_parts_are_the_papers():
    arms = SWEEPS["parts"].arms(keras_example())
    parts = ("shifts", "patch_norm", "temperature", "diagonal_mask")
    assert {arm.name: tuple(getattr(arm.config.model, part) for part in parts) for arm in arms} == {
        "vanilla": ("none", False, "none", False),
        "spt": ("diagonal", True, "none", False),
        "shifts": ("diagonal", False, "none", False),
        "patch-norm": ("none", True, "none", False),
        "lsa": ("none", False, "layer", True),
        "temperature": ("none", False, "layer", False),
        "mask": ("none", False, "none", True),
        "spt+lsa": ("diagonal", True, "layer", True),
    }
    assert arms[0].config == vanilla(keras_example())
    assert arms[-1].config == keras_example()
    assert {arm.baseline for arm in arms} == {"vanilla"}


def test_the_two_arms_are_the_plain_model_and_the_recipe():
    plain, both = SWEEPS["arms"].arms(paper())
    assert (plain.name, plain.config) == ("vanilla", vanilla(paper()))
    assert (both.name, both.config) == ("spt+lsa", paper())
    assert (plain.baseline, both.baseline) == ("vanilla", "vanilla")


def test_a_run_is_called_by_the_name_that_the_sweep_gives_it():
    for name, recipe in EVERY_SWEEP:
        for arm in SWEEPS[name].arms(RECIPES[recipe]()):
            assert arm.config.arm == arm.name


def test_the_last_axis_is_compared_all_else_alike():
    arms = {arm.name: arm for arm in SWEEPS["data"].arms(cpu())}
    assert list(arms)[:4] == ["5-vanilla", "5-spt+lsa", "10-vanilla", "10-spt+lsa"]
    assert arms["5-spt+lsa"].baseline == "5-vanilla"
    assert arms["5-spt+lsa"].config.data.train_examples == 2250
    assert arms["100-vanilla"].config.data.train_examples is None


def test_an_option_may_depend_on_the_axes_before():
    arms = {arm.name: arm.config.model for arm in SWEEPS["patch"].arms(keras_example())}
    assert (arms["single-overlapping"].patch_size, arms["single-overlapping"].stride) == (6, 3)
    assert (arms["double-overlapping"].patch_size, arms["double-overlapping"].stride) == (12, 6)
    assert arms["double-apart"].stride is None


@pytest.mark.parametrize("recipe", ["fashion-mnist", "cpu", "digits"])
def test_families_are_named_models_for_the_recipes_images_at_the_plain_vits_work(recipe):
    base = RECIPES[recipe]()
    arms = {arm.name: arm for arm in SWEEPS["families"].arms(base)}
    assert list(arms) == ["vit", "vit+spt+lsa", "cct-2", "resnet20"]
    assert {arm.baseline for arm in arms.values()} == {"vit"}
    models = {name: arm.config.model for name, arm in arms.items()}
    size = base.model.image_size
    assert models["vit"] == vanilla(base).model and models["vit+spt+lsa"] == base.model
    assert models["cct-2"] == named_model("cct-2/3x2").replace(image_size=size)
    assert models["resnet20"] == named_model("resnet20").replace(image_size=size)
    budget = work(arms["vit"].config)
    for arm in arms.values():
        epoch = work(arm.config.replace(train={"epochs": 1}))
        assert abs(work(arm.config) - budget) <= max(epoch / 2, 0.07 * budget), arm.name


def test_the_two_sweeps_of_families_differ_in_epochs_alone():
    by_work, by_epochs = (SWEEPS[name].arms(cpu()) for name in ("families", "families-epochs"))
    assert by_epochs[:2] == by_work[:2]
    assert by_epochs[2:] == [
        dataclasses.replace(arm, config=arm.config.replace(train={"epochs": 8}))
        for arm in by_work[2:]
    ]


def test_however_few_epochs_a_family_trains_for_one():
    short = cpu().replace(train={"epochs": 1})
    assert {arm.config.train.epochs for arm in SWEEPS["families"].arms(short)} == {1}


def test_families_on_a_part_of_the_images_train_for_as_many_steps():
    arms = {arm.name: arm for arm in SWEEPS["data-families"].arms(cpu())}
    few, all_images = arms["1-resnet20"], arms["100-resnet20"]
    assert few.baseline == "1-vit"
    assert few.config.data.train_examples == 450
    assert few.config.train.passes_per_epoch == 100
    assert work(few.config) == work(all_images.config)
    assert few.config.model == all_images.config.model == named_model("resnet20")


def test_a_patch_of_two_sides_is_doubled_side_by_side():
    base = keras_example().replace(model={"patch_size": (6, 4)})
    arms = {arm.name: arm.config.model for arm in SWEEPS["patch"].arms(base)}
    assert (arms["single-overlapping"].patch_size, arms["single-overlapping"].stride) == (
        (6, 4),
        (3, 2),
    )
    assert arms["double-overlapping"].patch_size == (12, 8)


def test_rows_of_another_backend_are_neither_ones_own_nor_paired(tmp_path):
    arms = SWEEPS["temperature"].arms(digits())
    runs = plan_runs(arms, 1, tmp_path)
    own, other = keras.backend.backend(), "another"
    assert unfinished(runs, [row(arm.config, 0.5, backend=other) for arm in arms]) == runs
    assert unfinished(runs, [row(arm.config, 0.5, backend=own) for arm in arms]) == []
    rows = [row(arms[0].config, 0.4, backend=own), row(arms[1].config, 0.5, backend=other)]
    assert [summary.pairs for summary in summarise(arms, rows)] == [0, 0, 0]


def test_a_folder_of_another_backends_run_is_refused_before_it_runs(tmp_path):
    (run, *_) = plan_runs(SWEEPS["temperature"].arms(digits()), 1, tmp_path)
    make_folder(run.directory)
    write_json(run.directory / "config.json", run.config.to_dict())
    write_json(run.directory / "environment.json", {"backend": "another"})
    with pytest.raises(InputError, match=r"backend: another -> .*--out"):
        unfinished([run], [])


def test_an_option_that_is_no_setting_is_refused_by_name():
    sweep = Sweep("?", {"shift": {"none": {}, "up": {"model": {"shifts": "up"}}}})
    with pytest.raises(InputError, match="shifts is one of"):
        sweep.arms(digits())


def test_runs_go_seed_by_seed_so_that_a_sweep_cut_short_has_pairs(tmp_path):
    base = digits().replace(train={"seed": 5})
    runs = plan_runs(SWEEPS["temperature"].arms(base), 2, tmp_path)
    assert [run.name for run in runs] == [
        f"{arm}-seed{seed}" for seed in (5, 6) for arm in ("none", "layer", "head")
    ]
    assert all(run.directory == tmp_path / run.name for run in runs)
    assert runs[-1].config == base.replace(
        arm="head", model={"temperature": "head"}, train={"seed": 6}
    )


@pytest.mark.parametrize("split", ["last", "stratified", "test"])
def test_the_number_of_training_images_is_known_without_loading_them(split):
    dataset = load_dataset("digits")
    config = digits().replace(data={"validation_split": split})
    known = DATASETS["digits"]
    assert known.training_images == len(dataset.train)
    assert (known.image_shape, known.num_classes) == (dataset.image_shape, dataset.num_classes)
    assert len(split_training_images(dataset, config)[0]) == training_images(config)
    for arm in SWEEPS["data"].arms(config):
        train, _ = split_training_images(dataset, arm.config)
        assert len(train) == training_images(arm.config)


def test_time_is_judged_by_flops_and_unknown_without_rows():
    told = {"epochs": 2, "train_examples": 50, "forward_flops": 1000}
    rows = [row(digits(), 0.5, seconds=seconds, **told) for seconds in (10, 30, 80)]
    assert seconds_per_flop(rows) == pytest.approx(0.3e-3)
    stopped = [dataclasses.replace(each, stopped_after=1) for each in rows]
    assert seconds_per_flop(stopped) == pytest.approx(0.6e-3)
    assert work(cpu()) == 8 * 45_000 * 28_193_280  # as the measured rows have it
    overlapping = cpu().replace(model={"stride": 2})
    assert work(overlapping) > 3.5 * work(cpu())
    passes = work(paper()) / work(paper().replace(train={"epochs": 1, "passes_per_epoch": 1}))
    assert passes == 300
    assert seconds_per_flop([]) is None
    assert clock(None) == "unknown"
    assert clock(3723.4) == "1:02:03"


@pytest.mark.parametrize(
    ("recipe", "device", "chosen"),
    [
        ("cpu", "a GPU", {0}),
        ("digits", "a GPU", {0, 1}),  # of other recipes, but of this device
        ("cpu", "a TPU", {0, 2}),
        ("digits", "a TPU", {0, 1, 2}),
    ],
)
def test_a_time_is_judged_by_runs_on_this_device_first(recipe, device, chosen):
    recipes = [("cpu", "a GPU"), ("paper", "a GPU"), ("cpu", "a CPU")]
    rows = [
        made_up_result(seed=seed, recipe=of, device=on) for seed, (of, on) in enumerate(recipes)
    ]
    assert {row.seed for row in comparable(rows, recipe, device)} == chosen


def test_the_summary_pairs_each_arm_with_its_baseline():
    arms = SWEEPS["temperature"].arms(digits())
    none, layer, _ = arms
    rows = [row(none.config, 0.4 + 0.1 * seed, seed) for seed in range(3)]
    rows += [row(layer.config, 0.42 + 0.1 * seed, seed) for seed in (2, 0)]
    rows += [row(cpu(), 0.99)]
    summaries = summarise(arms, rows)
    assert [len(summary.rows) for summary in summaries] == [3, 2, 0]
    assert summaries[1].difference.mean == pytest.approx(0.02)
    assert summaries[1].difference.half_width == pytest.approx(0)
    table = sweep_table(summaries)
    assert "| none | 0 | 50.00 ± 24.84 | 10.00 | baseline |" in table
    assert "| +2.00 ± 0.00 (2) |" in table
    assert "| head | | not yet run |" in table
    assert "a device" in table


def test_a_run_that_occurs_twice_is_refused():
    arms = SWEEPS["parts"].arms(digits())
    config = arms[0].config
    rows = [row(config, 0.4), row(config, 0.5)]
    with pytest.raises(InputError, match="occurs twice among the rows with seed 0"):
        summarise(arms, rows)


def test_one_seed_has_neither_interval_nor_deviation():
    arms = SWEEPS["temperature"].arms(digits())
    table = sweep_table(summarise(arms, [row(arms[0].config, 0.4)]))
    assert "| none | 0 | 40.00 | – | baseline |" in table


def test_the_table_says_how_long_arms_trained_that_did_not_train_alike():
    arms = SWEEPS["families"].arms(cpu())
    rows = [row(arm.config, 0.4, epochs=arm.config.train.epochs) for arm in arms]
    table = sweep_table(summarise(arms, rows))
    heads, _, vit, spt_lsa, cct, resnet, *_ = table.splitlines()
    assert heads.endswith("| s / epoch | epochs |")
    ends = [line.rsplit("|", 2)[1].strip() for line in (vit, spt_lsa, cct, resnet)]
    assert ends == ["8", "8", "3", "3"]
    assert "test set, last epoch, mean" in table
    alike = sweep_table(summarise(arms, rows[:2]))
    assert "test set, last epoch of 8, mean" in alike
    assert "epochs |" not in alike


def test_a_sweep_is_drawn_arm_by_arm_or_as_curves():
    assert plot_sweep(SWEEPS["parts"], summarise(SWEEPS["parts"].arms(digits()), [])) is None

    arms = SWEEPS["parts"].arms(digits())
    rows = [row(arm.config, 0.5, seed) for arm in arms[:3] for seed in range(2)]
    figure = plot_sweep(SWEEPS["parts"], summarise(arms, rows))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "vanilla",
        "spt",
        "shifts",
    ]

    arms = SWEEPS["data"].arms(digits())
    figure = plot_sweep(SWEEPS["data"], summarise(arms, [row(arm.config, 0.5) for arm in arms]))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["vanilla", "spt+lsa"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "10", "25", "50", "100"]
    assert axes.lines[0].get_xdata().tolist() == [5, 10, 25, 50, 100]


def test_intervals_are_drawn_as_long_as_they_are():
    estimate = Estimate.of([0.4, 0.6])
    figure = plot_arms({"arm": estimate}, {"arm": "arm"}, "?")
    assert isinstance(figure, Figure)
    ((start, end),) = figure.axes[0].collections[0].get_segments()
    assert end[0] - start[0] == pytest.approx(2 * estimate.half_width)
    odd = plot_over({"_run": {1.0: estimate}, "$x^$": {1.0: estimate}}, "x", "$a_{$")
    odd.draw_without_rendering()
    assert [text.get_text() for text in odd.axes[0].get_legend().texts] == [" _run", r"\$x^\$"]
    band = plot_over({"arm": {1.0: estimate, 2.0: estimate}}, "x", "?").axes[0].collections[0]
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() - heights.min() == pytest.approx(2 * estimate.half_width)


# ----------------------------------------------------------------------------------- the plan


def test_a_plan_is_named_after_the_sweep_and_what_is_changed_in_the_recipe(tmp_path):
    plan = make_plan("parts", cpu(), 2)
    assert plan.folder == Path("runs") / "parts-cpu"
    assert plan.rows_path == plan.folder / "rows.jsonl"
    assert len(plan.runs) == 2 * 8
    assert all(run.directory == plan.folder / run.name for run in plan.runs)

    changed = cpu().replace(
        train={"epochs": 2, "precision": "bfloat16", "seed": 4},
        model={"patch_size": (8, 4)},
        data={"data_dir": "/somewhere", "train_examples": 100},
    )
    name = "parts-cpu-patch_size-(8,4)-train_examples-100-epochs-2-precision-bfloat16-from-seed-4"
    assert make_plan("parts", changed, 1).folder == Path("runs") / name
    assert make_plan("parts", changed, 1, results=tmp_path).rows_path == tmp_path / f"{name}.jsonl"
    told = make_plan("parts", changed, 1, tmp_path / "a", tmp_path / "b.jsonl", tmp_path)
    assert (told.folder, told.rows_path) == (tmp_path / "a", tmp_path / "b.jsonl")


def test_however_much_is_changed_the_name_is_one_that_a_file_may_have(tmp_path):
    tiny = {"image_size": 16, "num_layers": 1, "num_heads": 2, "key_dim": 5, "mlp_ratio": 3.0}
    tiny |= {"attention_dropout": 0.25, "dropout": 0.25, "stochastic_depth": 0.25}
    train = {"epochs": 3, "batch_size": 12, "schedule": "constant", "weight_decay": 0.25}
    train |= {"warmup_fraction": 0.25, "adam_epsilon": 1e-5, "clip_norm": 1.0}
    plans = [
        make_plan(
            "parts",
            cpu().replace(model=tiny, train=train | {"label_smoothing": label_smoothing}),
            1,
            results=tmp_path,
        )
        for label_smoothing in (0.25, 0.5)
    ]
    for plan in plans:
        plan.rows_path.write_text("")
        assert plan.folder.name.startswith("parts-cpu-image_size-16-num_layers-1-")
        assert len(plan.folder.name) < 200
    assert len({plan.folder for plan in plans}) == 2


def test_the_rows_of_a_comparison_are_named_after_the_recipe(tmp_path):
    plan = make_plan("arms", cpu(), 1, results=tmp_path)
    assert plan.folder == Path("runs") / "compare-cpu"
    assert plan.rows_path == tmp_path / "cpu.jsonl"


RESNET = digits().replace(model=named_model("resnet20"))
FEW = digits().replace(data={"train_examples": 190})


def started(recipe, **train):
    return RECIPES[recipe]().replace(train=train | {"init_from": "runs/cats"})


FINE_TUNED = started("digits")
TRAINED = digits().replace(model=named_model("pretrained"), train={"init_from": "runs/cats"})


@pytest.mark.parametrize(
    ("name", "config", "seeds", "message"),
    [
        ("wings", digits(), 1, "Name a sweep: arms, start, .* Received: 'wings'"),
        ("arms", digits(), 0, "--seeds must be at least 1. Received: 0"),
        ("arms", vanilla(digits()), 1, "vanilla and spt.lsa would be the same .* needs SPT or LSA"),
        ("parts", digits().replace(model={"diagonal_mask": False}), 1, "vanilla and mask would"),
        ("arms", digits().replace(train={"seed": 2**32 - 1}), 2, r"below 2\*\*32"),
        ("arms", RESNET, 1, "resnet has neither SPT nor LSA.* sweep families"),
        ("parts", RESNET, 1, "changes diagonal_mask, .*, which the family resnet does not have"),
        ("patch", RESNET, 1, "changes stride, which the family resnet does not have"),
        ("transfer", digits(), 1, "starts from a trained model: small-vit transfer --from RUN"),
        ("transfer", TRAINED, 1, "random weights. Received: a model of the family pretrained"),
        ("transfer", started("linear-probe"), 1, "The recipe linear-probe is for trained models"),
        ("transfer", started("fine-tune-sgd"), 1, "fine-tune-sgd is for trained models"),
        ("transfer", started("digits", freeze=["block_0"]), 1, "leave out --freeze, "),
        ("transfer", started("digits", layer_decay=0.5), 1, "leave out --freeze, --layer-decay"),
        ("transfer", started("digits", optimizer="lion", decay_rule="scaled"), 1, "--optimizer"),
        ("data", FEW, 1, "5 % of 190 training images is less than one image of each of the 10"),
        ("families", RESNET, 1, "ViT from the recipe: leave out --model. Received: .* resnet"),
        ("families", FINE_TUNED, 1, "families from random weights: leave out --init-from"),
        ("data-families", FINE_TUNED, 1, "families from random weights"),
        ("families", RECIPES["fine-tune-sgd"](), 1, "and a recipe for trained models"),
        ("families", RECIPES["linear-probe"](), 1, "and a recipe for trained models"),
    ],
)
def test_a_plan_of_bad_input_is_refused(name, config, seeds, message):
    with pytest.raises(InputError, match=message):
        make_plan(name, config, seeds)


def test_a_plan_is_read_as_it_was_written(tmp_path):
    assert read_plan(tmp_path) is None
    base = digits().replace(train={"epochs": 2})
    write_plan(make_plan("temperature", base, 2, tmp_path / "new" / "folder"))
    assert read_plan(tmp_path / "new" / "folder") == ("temperature", base, 2)


def test_a_plan_may_get_more_seeds_and_nothing_else(tmp_path):
    def plan(name="temperature", seeds=2, **changes):
        return make_plan(name, digits().replace(**changes), seeds, tmp_path)

    write_plan(plan())
    refuse_another(plan())
    refuse_another(plan(seeds=3))
    refuse_another(plan(data={"data_dir": "elsewhere"}))
    for message, other in {
        "sweep: temperature -> pooling": plan("pooling"),
        "seeds: 2 -> 1": plan(seeds=1),
        r"train\.seed: 0 -> 2": plan(train={"seed": 2}),
        r"train\.batch_size: 64 -> 9; seeds: 2 -> 1": plan(train={"batch_size": 9}, seeds=1),
        "cannot be extended to 99 epochs: under schedule=warmup_cosine": plan(train={"epochs": 99}),
    }.items():
        with pytest.raises(InputError, match=message):
            refuse_another(other)
    assert read_plan(tmp_path)[2] == 2


def test_at_a_constant_rate_a_plan_may_get_more_epochs(tmp_path):
    def plan(epochs):
        base = digits().replace(train={"schedule": "constant", "epochs": epochs})
        return make_plan("arms", base, 1, tmp_path)

    write_plan(plan(2))
    write_plan(plan(3))
    assert read_plan(tmp_path)[1].train.epochs == 3
    with pytest.raises(InputError, match="epochs: 3 -> 2"):
        refuse_another(plan(2))


def test_the_folder_of_a_single_run_takes_no_plan(tmp_path):
    write_json(tmp_path / "config.json", digits().to_dict())
    with pytest.raises(InputError, match="holds a single run"):
        refuse_another(make_plan("arms", digits(), 1, tmp_path))


def test_a_damaged_plan_is_refused_on_every_host(tmp_path, monkeypatch):
    (tmp_path / "sweep.json").write_text("{}")
    monkeypatch.setattr(hosts, "is_first", lambda: False)
    with pytest.raises(InputError, match=r"sweep\.json cannot be read as the plan of a sweep"):
        refuse_another(make_plan("arms", digits(), 1, tmp_path))
