"""Rows come from finished runs, and the README shows what the rows give."""

import dataclasses
import json
from pathlib import Path

import pytest
from made_up import made_up_result

import collect
import tables
from benchmarks.workload import Workload
from small_vit.errors import InputError
from small_vit.files import write_json
from small_vit.histories import History, keep_histories, read_histories_file
from small_vit.recipes import digits, keras_example
from small_vit.rows import append_rows, as_row, config_hash
from small_vit.runs import RunDirectory
from small_vit.sweeps import SWEEPS

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parent.parent
RESULTS = sorted((ROOT / "experiments" / "results").glob("*.jsonl"))


def result(seed):
    return made_up_result(arm="vanilla", seed=seed)


@pytest.mark.parametrize(
    ("document", "table"),
    [("README.md", "keras-example"), ("results.md", "epochs"), ("speed.md", "benchmark")],
)
def test_a_document_shows_what_the_rows_give(document, table):
    (path,) = [path for path in tables.CommandLine().documents if path.name == document]
    text = path.read_text()
    assert f"<!-- table: {table} -->" in text
    assert tables.render(text) == text


def test_a_changed_table_in_the_readme_is_put_right():
    text = (ROOT / "README.md").read_text()
    changed = text.replace("| vanilla | ", "| vanilla | 9")
    assert changed != text
    assert tables.render(changed) == text


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_each_row_is_one_run_of_clean_code(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = ("recipe", "dataset", "arm", "seed", "changes", "backend")
    runs = [str([row[name] for name in told]) for row in rows]
    assert len(set(runs)) == len(runs)
    assert all(len(row["commit"]) == 12 for row in rows)  # neither "unknown" nor "…-dirty"
    assert len({row["data_fingerprint"] for row in rows}) == 1


def test_a_table_without_rows_is_refused():
    with pytest.raises(InputError, match=r"no rows in .*absent\.jsonl"):
        tables.render("<!-- table: absent -->\n<!-- end -->")


def test_published_numbers_stand_beside_ours_or_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    rows = [
        made_up_result(arm="vanilla", seed=seed, test_accuracy=0.5, test_top5_accuracy=0.75)
        for seed in range(2)
    ]
    append_rows(tmp_path / "keras-example.jsonl", rows)
    table = tables.render("<!-- table: published -->\n<!-- end -->")
    assert (
        "| `keras-example` | vanilla | 53.10 / 80.53 | 50.00 ± 0.00 / 75.00 ± 0.00 |  | 2 |"
        in table
    )
    assert (
        "| `paper` | spt+lsa | 76.92 / – "
        "| Not yet run: `python experiments/compare.py --recipe paper --seeds 3` |  | 0 |" in table
    )


def test_fast_recipes_tell_accuracy_and_seconds_or_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    rows = [
        made_up_result(
            arm="spt+lsa",
            seed=seed,
            test_accuracy=0.61,
            train_seconds=10.0 + seed,
            start_seconds=20.0,
        )
        for seed in range(3)
    ]
    append_rows(tmp_path / "fast-60.jsonl", rows)
    others = [made_up_result(arm="vanilla", train_seconds=9.0), made_up_result(arm="spt+lsa")]
    append_rows(tmp_path / "fast-60.jsonl", others)
    table = tables.render("<!-- table: fast -->\n<!-- end -->")
    assert "| `fast-60` | 60 | 61.00 ± 0.00 | 11.0 | 31.0 | 3 |" in table
    assert "| `fast-70` | 70 | Not yet run: `for s in 0 1 2 3 4; do python run_cifar100" in table
    append_rows(tmp_path / "fast-60.jsonl", [dataclasses.replace(rows[0], commit="another")])
    with pytest.raises(InputError, match="a seed twice"):
        tables.render("<!-- table: fast -->\n<!-- end -->")


def test_bfloat16_is_told_beside_the_same_runs_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    told = {"recipe": "tiny", "arm": "vanilla", "train_examples": 1000, "precision": "float32"}
    half = {"precision": "bfloat16", "changes": ["train.precision: float32 -> bfloat16"]}
    whole = [made_up_result(**told, seed=s, test_accuracy=0.5 + s / 10) for s in range(3)]
    again = [
        dataclasses.replace(run, test_accuracy=run.test_accuracy + 0.01, **half) for run in whole
    ]
    alone = dataclasses.replace(again[0], seed=7)
    append_rows(tmp_path / "tiny.jsonl", whole)
    append_rows(tmp_path / "tiny-bfloat16.jsonl", [*again, alone])
    table = tables.render("<!-- table: bfloat16 -->\n<!-- end -->")
    assert "| `tiny`, 1,000 | vanilla | 60.00 ± 24.84 | 61.00 ± 24.84 | +1.00 ± 0.00 | 3 |" in table


SPEED_ROW = dataclasses.asdict(Workload("tiny", "vanilla", 4, "float32", "none", 1)) | {
    "status": "measured",
    "backend": "jax",
    "device": "a device",
    "command": "python experiments/benchmark.py",
}


def speed_tables(tmp_path, name, rows):
    (tmp_path / "speed").mkdir(exist_ok=True)
    lines = "".join(json.dumps(SPEED_ROW | row) + "\n" for row in rows)
    (tmp_path / "speed" / f"{name}.jsonl").write_text(lines)
    return tables.render(f"<!-- table: {name} -->\n<!-- end -->")


def test_the_profile_tells_what_each_part_costs(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    parts = [("mlp", 0.1), ("blocks", 0.4), ("mlp", 0.2)]
    rows = [
        {"without": part, "part_seconds": seconds, "part_fraction": seconds / 0.5}
        | {"commit": "first"}
        | {"part_seconds_quartiles": [seconds - 0.01, seconds + 0.02]}
        for part, seconds in parts
    ]
    table = speed_tables(tmp_path, "profile", rows).splitlines()
    assert "**jax: tiny, vanilla, batches of 4, float32, augmentation: none**" in table
    dearest = table.index("| all transformer blocks | 0.400 | 0.390 to 0.420 | 80% |")
    assert table[dearest + 1].endswith(" | 0.200 | 0.190 to 0.220 | 40% |")
    assert "On a device, commit first." in table


def test_speed_is_told_by_the_newest_sessions(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    sessions = [("first", ("ours", "timm")), ("second", ("ours", "other")), ("third", ("ours",))]
    rows = [
        {"contender": contender, "commit": commit, "date": f"2026-11-{day}"}
        | {"images_per_second": 10.0 + day, "seconds_per_step": 1.0}
        for day, (commit, contenders) in enumerate(sessions, 10)
        for contender in contenders
    ]
    table = speed_tables(tmp_path, "benchmark", rows)
    # The third has ours, the second has another beside it, and timm is in the first alone.
    assert [table.count(f"commit {name}, 2026-11-") for name, _ in sessions] == [1, 1, 1]
    assert table.index("commit third") < table.index("commit second") < table.index("commit first")
    repeated = [row | {"commit": "fourth", "date": "2026-11-20"} for row in rows[:4]]
    table = speed_tables(tmp_path, "benchmark", rows + repeated)
    assert [table.count(f"commit {name}, 2026-11-") for name, _ in sessions] == [0, 0, 0]
    assert "commit fourth, " in table


def test_a_session_is_told_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    seconds = {"images_per_second": 10.0, "seconds_per_step": 1.0, "commit": "first"}
    more = {"reference": "ours/jax", "ratio": 1.5, "ratio_quartiles": [1.25, 1.75]}
    rows = [
        {"contender": "ours", "date": "2026-11-20", "session": "a"} | seconds,
        {"contender": "devices", "date": "2026-11-20", "session": "a", "device": "2 x a device"}
        | seconds
        | more,
        {"contender": "timm", "date": "2026-11-20", "session": "b"} | seconds,
    ]
    table = speed_tables(tmp_path, "benchmark", rows)
    assert table.count("| contender |") == 2  # by session, not by device
    assert "| × 1.50 (1.25 to 1.75) | ours/jax |" in table


def test_ours_is_told_beside_the_example_on_both_backends(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    row = {"date": "2026-11-20", "commit": "first", "precision": "float32", "seconds_per_step": 1}
    rows = [
        row
        | {"contender": name, "backend": backend, "images_per_second": speed, "ratio": speed}
        | {"floor_fraction": 0.25, "peak_memory_mb": 1000}
        for backend in ("tensorflow", "jax")
        for name, speed in (("ours", 2.0), ("keras-example", 1.0))
    ]
    speed_tables(tmp_path, "benchmark", rows)
    overview = tables.render("<!-- table: speed -->\n<!-- end -->")
    assert "| tiny, vanilla, 4 | jax | 2.0 | 1.0 | × 2.00 | 25% | 1000 |" in overview
    assert "On a device, commit first, 2026-11-20." in overview


def test_one_that_was_absent_and_then_measured_is_not_told_as_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    absent = {"contender": "timm", "status": "absent", "reason": "timm is not installed"}
    measured = {"contender": "timm", "commit": "first", "date": "2026-11-20"}
    measured |= {"images_per_second": 10.0, "seconds_per_step": 1.0}
    assert "- timm/jax: absent: timm" in speed_tables(tmp_path, "benchmark", [absent])
    assert "absent" not in speed_tables(tmp_path, "benchmark", [absent, measured])


def test_aims_are_told_by_the_newest_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    case = dataclasses.asdict(Workload("example", "vanilla", 64, "float32", "example", 1))
    case |= {"device": "a device, 2 cores", "peak_memory_mb": 1500, "floor_fraction": 0.4}

    def row(contender, backend, seconds, day, **more):
        told = {"contender": contender, "backend": backend, "seconds_per_step": seconds}
        told |= {"images_per_second": 64 / seconds, "commit": day, "date": f"2026-11-{day}"}
        told |= {"reference": None}
        return case | told | more

    rows = [
        row("ours", "tensorflow", 1.0, "20", ratio=3.0),
        row("keras-example", "tensorflow", 3.0, "20"),
        row("ours", "tensorflow", 1.0, "21", ratio=2.1, reference="keras-example/tensorflow"),
        row("keras-example", "tensorflow", 2, "21", ratio=1, reference="keras-example/tensorflow"),
        row("keras-example-system-malloc", "tensorflow", 2.5, "21"),
        row("ours", "jax", 1.3, "21"),
        row("ours-common-head", "tensorflow", 0.9, "19"),
        row("ours-common-head", "jax", 1.1, "19", ratio=1.0, reference="ours-common-head/jax"),
        row("timm", "torch", 1.2, "19"),
        row("timm-compiled", "torch", 1.0, "19", ratio=0.95, reference="ours-common-head/jax"),
    ]
    speed_tables(tmp_path, "benchmark", rows)
    start = {"commit": "21", "date": "2026-11-21", "first_time_quartiles": [24.0, 26.0]}
    start |= {"first_time_seconds": 25.0, "second_time_seconds": 9.0}
    speed_tables(tmp_path, "starts", [case | start | {"second_time_quartiles": [8.0, 9.5]}])
    aims = tables.render("<!-- table: aims -->\n<!-- end -->").splitlines()
    told = [line.split(" | ")[1] for line in aims[3:-1]]
    assert told == [
        "2.50 × as it comes, 2.10 × with our malloc",
        "2.5 × (tensorflow), 2.5 × (jax)",
        "1.30 ×",
        "timm-compiled/torch is 0.90 × ours-common-head/tensorflow and 0.95 × ours-common-head/jax",
        "25 s (jax)",
        "9 s (jax)",
        "1.5 GB (tensorflow), 1.5 GB (jax)",
    ]
    assert all("not yet measured" in line.split(" | ")[2] for line in aims[3:-1])


def test_starts_are_told_by_backend(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    row = {"commit": "first", "date": "2026-11-20", "first_time_quartiles": [19.0, 22.0]}
    row |= {"second_time_seconds": 9.0, "second_time_quartiles": [8.0, 9.5]}
    rows = [row | {"first_time_seconds": seconds} for seconds in (30.0, 20.0)]
    table = speed_tables(tmp_path, "starts", rows)
    title = "tiny, vanilla, batches of 4, float32, augmentation: none"
    assert f"| jax | {title} | 20.0 | 19.0 to 22.0 | 9.0 | 8.0 to 9.5 |" in table
    assert "30.0" not in table


def test_a_sweep_has_its_own_table_and_may_be_not_yet_run(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    marked = "<!-- table: temperature-digits -->\n<!-- end -->"
    assert "Not yet run: `python experiments/ablation.py temperature --recipe digits`" in (
        tables.render(marked)
    )
    config = SWEEPS["temperature"].arms(digits())[2].config
    append_rows(tmp_path / "temperature-digits.jsonl", [as_row(result(0), config)])
    begun = tables.render(marked)
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
    log = tables.RESULTS / "published" / "keras_example_log.csv"
    (tmp_path / "published" / log.name).write_text(log.read_text())
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    table = tables.render("<!-- table: epochs -->\n<!-- end -->")
    assert "| spt+lsa | 1 | 4.489 | 0.500 | 4.5 | 50.0 | 3.936 | 0.500 | 11.3 | 50.0 |" in table
    assert "| spt+lsa | 2 | 3.981 | 0.250 |" in table
    assert "| vanilla | 50 | 1.192 |  | 65.4 |  |" in table
    assert "Code: commits later, x." in table


def history(epochs, **changes):
    values = {"recipe": "keras-example", "dataset": "cifar100", "arm": "vanilla", "seed": 0}
    values |= {"precision": "float32", "changes": [], "backend": "jax", "device": "a device"}
    values |= {"commit": "x", "command": "x", "resumed": []}
    return History(**(values | changes), epochs=[{"epoch": n + 1} for n in range(epochs)])


def test_epochs_of_other_runs_stay_and_of_one_run_the_longer_ones(tmp_path):
    path = tmp_path / "epochs.jsonl"
    longer = history(3, changes=["train.epochs: 50 -> 60"])
    faster = history(1, changes=["train.learning_rate: 0.001 -> 0.002"])
    other = history(1, backend="tensorflow")
    keep_histories(path, [history(2), faster])
    keep_histories(path, [longer, other, history(1)])
    assert read_histories_file(path) == [longer, faster, other]
