"""Rows come from finished runs, and the README shows what the rows give."""

import dataclasses
import json

import pytest
from made_up import made_up_result

import collect
import tables
from benchmarks.workload import Workload
from document_tables import render
from row_files import RESULTS, ROOT
from small_vit.errors import InputError
from small_vit.files import write_json
from small_vit.recipes import RECIPES, digits, keras_example
from small_vit.results.histories import (
    History,
    history_of,
    keep_histories,
    read_histories_file,
)
from small_vit.results.rows import append_rows, as_row, config_hash
from small_vit.results.run_directory import RunDirectory
from small_vit.sweeps import SWEEPS

pytestmark = pytest.mark.any_backend


def result(seed):
    return made_up_result(arm="vanilla", seed=seed)


def rendered(table, results):
    """The table of this name, between its markers."""
    return render(f"<!-- table: {table} -->\n<!-- end -->", results)


@pytest.mark.parametrize(
    "path", tables.CommandLine().documents, ids=lambda path: path.name.removesuffix(".md")
)
def test_a_document_shows_what_the_rows_give(path):
    text = path.read_text()
    assert "<!-- table: " in text
    assert render(text, RESULTS) == text


def test_a_changed_table_in_the_readme_is_put_right():
    text = (ROOT / "README.md").read_text()
    changed = text.replace("| vanilla | ", "| vanilla | 9")
    assert changed != text
    assert render(changed, RESULTS) == text


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_each_row_is_one_run_of_clean_code(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = ("recipe", "dataset", "arm", "seed", "changes", "backend")
    runs = [str([row[name] for name in told]) for row in rows]
    assert len(set(runs)) == len(runs)
    assert all(len(row["commit"]) == 12 for row in rows)  # neither "unknown" nor "…-dirty"
    images = {}
    for row in rows:
        how = tuple(change for change in row["changes"] if change.startswith("data."))
        images.setdefault((row["dataset"], how), set()).add(row["data_fingerprint"])
    assert all(len(fingerprints) == 1 for fingerprints in images.values())


def test_a_table_without_rows_is_refused():
    with pytest.raises(InputError, match=r"no rows in .*absent\.jsonl"):
        rendered("absent", RESULTS)


def test_published_numbers_stand_beside_ours_or_the_command(tmp_path):
    rows = [
        made_up_result(arm="vanilla", seed=seed, accuracy=0.5, top5_accuracy=0.75)
        for seed in range(2)
    ]
    append_rows(tmp_path / "keras-example.jsonl", rows)
    table = rendered("published", tmp_path)
    assert (
        "| `keras-example` | vanilla | 53.10 / 80.53 | 50.00 ± 0.00 / 75.00 ± 0.00 |  | 2 |"
        in table
    )
    assert (
        "| `paper` | spt+lsa | 76.92 / – "
        "| Not yet run: `python experiments/compare.py --recipe paper --seeds 3` |  | 0 |" in table
    )


def test_bfloat16_is_told_beside_the_same_runs_in_float32(tmp_path):
    told = {"recipe": "tiny", "arm": "vanilla", "train_examples": 1000, "precision": "float32"}
    half = {"precision": "bfloat16", "changes": ["train.precision: float32 -> bfloat16"]}
    whole = [made_up_result(**told, seed=s, accuracy=0.5 + s / 10) for s in range(3)]
    again = [
        dataclasses.replace(run, metrics={"accuracy": run.metrics["accuracy"] + 0.01}, **half)
        for run in whole
    ]
    alone = dataclasses.replace(again[0], seed=7)
    append_rows(tmp_path / "tiny.jsonl", whole)
    append_rows(tmp_path / "tiny-bfloat16.jsonl", [*again, alone])
    table = rendered("bfloat16", tmp_path)
    assert "| `tiny`, 1,000 | vanilla | 60.00 ± 24.84 | 61.00 ± 24.84 | +1.00 ± 0.00 | 3 |" in table


SPEED_ROW = dataclasses.asdict(Workload("tiny", "vanilla", 4, "float32", "none", 1)) | {
    "status": "measured",
    "backend": "jax",
    "device": "a device",
    "commit": "first",
    "command": "python experiments/benchmark.py",
    "seconds_per_step": 1.0,
    "reference": "ours/jax",
    "ratio": 1.5,
    "ratio_quartiles": [1.25, 1.75],
    "floor_fraction": 0.25,
    "peak_memory_mb": 900,
}


def speed_tables(folder, rows):
    (folder / "speed").mkdir()
    lines = "".join(json.dumps(SPEED_ROW | row) + "\n" for row in rows)
    (folder / "speed" / "benchmark.jsonl").write_text(lines)
    return rendered("speed", folder)


def test_each_session_of_the_benchmark_has_a_table_and_a_newer_one_replaces_it(tmp_path):
    sessions = [(("ours", "timm"), 1.0), (("ours",), 2.0), (("ours", "timm"), 3.0)]
    rows = [
        {"contender": contender, "date": f"2026-11-{day}", "images_per_second": speed + number}
        for day, (contenders, speed) in enumerate(sessions, 20)
        for number, contender in enumerate(contenders)
    ]
    table = speed_tables(tmp_path, rows)
    assert table.count("**tiny, vanilla, batches of 4, float32, augmentation: none**") == 2
    assert "2026-11-20" not in table
    # The fastest first.
    line = "| timm/jax | 4.0 | 1.0000 | × 1.50 (1.25 to 1.75) | ours/jax | 25.0% | 900 |"
    assert f"{line}\n| ours/jax | 3.0 |" in table
    source = "On a device; commit first, 2026-11-22: `python experiments/benchmark.py`"
    assert source in table


def test_a_contender_that_failed_is_listed_with_the_reason(tmp_path):
    row = {"contender": "timm", "status": "failed", "reason": "no timm\nhere", "date": "2026-11-20"}
    assert "\n- timm/jax failed: no timm here\n" in speed_tables(tmp_path, [row])


def test_without_rows_the_speed_is_not_yet_run(tmp_path):
    table = rendered("speed", tmp_path)
    assert "Not yet run: `python experiments/benchmark.py`" in table


def test_a_sweep_has_its_own_table_and_may_be_not_yet_run(tmp_path):
    assert "Not yet run: `python experiments/ablation.py temperature --recipe digits`" in (
        rendered("temperature-digits", tmp_path)
    )
    config = SWEEPS["temperature"].arms(digits())[2].config
    append_rows(tmp_path / "temperature-digits.jsonl", [as_row(result(0), config)])
    begun = rendered("temperature-digits", tmp_path)
    assert "| head | 0 | 0.00 | – |" in begun
    assert "The rest: `python experiments/ablation.py temperature --recipe digits`" in begun


def test_runs_are_collected_once(tmp_path, monkeypatch, capsys):
    for seed in range(2):
        run = tmp_path / "runs" / f"seed{seed}"
        run.mkdir(parents=True)
        write_json(run / "config.json", digits().replace(train={"seed": seed}).to_dict())
        whole = dataclasses.replace(result(seed), epochs=digits().train.epochs)
        write_json(run / "result.json", dataclasses.asdict(whole))
    rows = tmp_path / "rows.jsonl"
    monkeypatch.setattr("sys.argv", ["collect.py", str(tmp_path / "runs"), "--to", str(rows)])
    collect.main()
    collect.main()
    collected = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["seed"] for row in collected] == [0, 1]
    assert collected[0]["config_hash"] == config_hash(digits())
    assert capsys.readouterr().out.startswith("2 rows added")


def test_a_folder_without_a_finished_run_is_refused(tmp_path, monkeypatch, capsys):
    rows = str(tmp_path / "rows.jsonl")
    monkeypatch.setattr("sys.argv", ["collect.py", str(tmp_path), "--to", rows])
    with pytest.raises(SystemExit) as stop:
        collect.main()
    assert stop.value.code == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_epochs_of_a_run_that_still_goes_are_collected_and_stand_beside_the_log(
    tmp_path, monkeypatch
):
    config = keras_example().replace(train={"seed": 3})
    run = RunDirectory(tmp_path / "run")
    environment = dict.fromkeys(("backend", "device", "commit", "command"), "x")
    run.create(config, environment | {"resumed": [{"commit": "later"}]}, ["a"])
    names = ("loss", "accuracy", "top5_accuracy", "val_loss", "val_accuracy", "val_top5_accuracy")
    epochs = [{"epoch": n, **dict.fromkeys(names, 0.5 / n)} for n in (1, 2)]
    path = tmp_path / "epochs" / "keras-example.jsonl"
    monkeypatch.setattr("sys.argv", ["collect.py", str(tmp_path), "--epochs", "--to", str(path)])
    for done in (1, 2):
        run.write_history(epochs[:done])
        collect.main()

    (kept,) = read_histories_file(path)
    assert (kept.arm, kept.seed, kept.resumed, kept.epochs) == ("spt+lsa", 3, ["later"], epochs)

    (tmp_path / "published").mkdir()
    log = RESULTS / "published" / "keras_example_log.csv"
    (tmp_path / "published" / log.name).write_text(log.read_text())
    table = rendered("epochs", tmp_path)
    assert "| spt+lsa | 1 | 4.489 | 0.500 | 4.5 | 50.0 | 3.936 | 0.500 | 11.3 | 50.0 |" in table
    assert "| spt+lsa | 2 | 3.981 | 0.250 |" in table
    assert "| vanilla | 50 | 1.192 |  | 65.4 |  |" in table
    assert "Code: commits later, x." in table


def history(epochs, **changes):
    values = {"recipe": "keras-example", "dataset": "cifar100", "arm": "vanilla", "seed": 0}
    values |= {"precision": "float32", "changes": [], "backend": "jax", "device": "a device"}
    values |= {"commit": "x", "command": "x", "resumed": []}
    return History(**(values | changes), epochs=[{"epoch": n + 1} for n in range(epochs)])


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [("keras-example", []), ("keras-example-cosine", ["train.epochs: 50 -> 60"])],
)
def test_more_epochs_make_another_run_unless_the_rate_is_constant(recipe, changes, tmp_path):
    run = RunDirectory(tmp_path)
    environment = dict.fromkeys(("backend", "device", "commit", "command"), "x")
    run.create(RECIPES[recipe]().replace(train={"epochs": 60}), environment, ["a"])
    run.write_history([{"epoch": 1}])
    assert history_of(tmp_path).changes == changes


def test_the_changes_of_a_run_that_has_ended_are_those_of_its_result(tmp_path):
    run, changes = RunDirectory(tmp_path), ["model.image_size: 32 -> 48"]
    config = RECIPES["fine-tune"]().replace(train={"init_from": "runs/birds"})
    environment = dict.fromkeys(("backend", "device", "commit", "command"), "x")
    run.create(config, environment, ["a"])
    run.write_history([{"epoch": 1}])
    assert history_of(tmp_path).changes == ["train.init_from: None -> birds"]
    run.finish(made_up_result(epochs=config.train.epochs, changes=changes))
    assert history_of(tmp_path).changes == changes


def test_epochs_of_other_runs_stay_and_of_one_run_the_longer_ones(tmp_path):
    path = tmp_path / "epochs.jsonl"
    longer = history(3)
    faster = history(1, changes=["train.learning_rate: 0.001 -> 0.002"])
    other = history(1, backend="tensorflow")
    keep_histories(path, [history(2), faster])
    keep_histories(path, [longer, other, history(1)])
    assert read_histories_file(path) == [longer, faster, other]
