"""The sweep as a user meets it: what it runs, skips, goes on with, reports and refuses."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from made_up import made_up_result

from small_vit.cli import compare, sweep
from small_vit.models.registry import count_multiply_adds
from small_vit.recipes import digits
from small_vit.report.run_report import write_report
from small_vit.results.rows import append_rows, config_hash, read_rows
from small_vit.results.run_directory import RunDirectory
from small_vit.sweeps import SWEEPS, Sweep, local, runner
from small_vit.training.callbacks import TrainingDiverged
from small_vit.training.devices import choose_strategy
from tiny import TINY

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("without_reports")]

ROOT = Path(__file__).parents[2]
SWEEP = Sweep(
    "Does a tiny model learn a temperature?",
    {
        "size": {"tiny": {"model": TINY, "data": {"train_examples": 128}}},
        "temperature": {
            "none": {"model": {"temperature": "none"}},
            "layer": {"model": {"temperature": "layer"}},
        },
    },
)


@pytest.fixture
def ablation(tmp_path, monkeypatch):
    """The command line on a sweep of two tiny arms, one seed and one epoch."""
    monkeypatch.setitem(SWEEPS, "tiny", SWEEP)

    def command(*arguments):
        start = ["tiny", "--recipe", "digits", "--epochs", "1", "--seeds", "1"]
        out = ["--out", str(tmp_path / "out")]
        return sweep.main([*start, *out, *arguments], results=tmp_path / "results")

    return command


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: a list of the runs, each of which took a minute for 80 %."""
    runs = []

    def train(config, directory, resume, **options):
        runs.append((config.arm, config.train.seed, resume))
        return made_up_result(
            recipe=config.recipe,
            arm=config.arm,
            seed=config.train.seed,
            train_examples=128,
            forward_flops=2 * count_multiply_adds(config.model, (8, 8, 1), 10).total,
            epochs=config.train.epochs,
            seconds=60.0,
            seconds_per_epoch=60.0,
            accuracy=0.8,
        )

    monkeypatch.setattr(local, "run_experiment", train)
    return runs


ARMS = ["tiny-none", "tiny-layer"]


def rows_of(tmp_path):
    return read_rows(tmp_path / "results" / "tiny-digits-epochs-1.jsonl")


def test_a_sweep_trains_its_arms_and_leaves_rows_a_table_and_pictures(
    ablation, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("small_vit.training.run.write_report", write_report)
    assert ablation() == 0
    rows = rows_of(tmp_path)
    assert [row.arm for row in rows] == ARMS
    assert all("train.epochs: 25 -> 1" in row.changes for row in rows)
    shown = capsys.readouterr().out
    assert "sweep: 1 of 2 runs ended  tiny-none-seed0: top-1" in shown
    assert "sweep's time left 0:00:00" in shown
    table = (tmp_path / "out" / "sweep.md").read_text()
    assert f"{rows[0].metrics['accuracy'] * 100:.2f}" in table
    for picture in ("sweep.png", "temperatures.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
        assert f"({picture})" in table
    assert table.count("temperature_history.png") == 1
    assert "(tiny-layer-seed0/temperature_history.png)" in table


def test_what_is_finished_is_skipped(ablation, tmp_path, trained):
    assert ablation() == 0
    rows = rows_of(tmp_path)
    assert ablation("--seeds", "2") == 0
    assert ablation("--seeds", "2") == 0
    assert trained == [(arm, seed, False) for seed in (0, 1) for arm in ARMS]
    assert rows_of(tmp_path)[:2] == rows
    assert len(rows_of(tmp_path)) == 4


def test_an_interrupted_run_goes_on_and_a_finished_one_gives_its_row(
    ablation, tmp_path, monkeypatch, capsys
):
    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("small_vit.training.run.write_report", die)
        assert ablation() == 130
    assert "Resume with the same command" in capsys.readouterr().out
    assert ablation("--dry-run") == 0
    states = capsys.readouterr().out.splitlines()
    assert "stopped" in states[0]
    assert "to do" in states[1]

    # The sweep dies between the end of a run and its row.
    with monkeypatch.context() as patch:
        patch.setattr(runner, "append_rows", die)
        assert ablation() == 130
    begun = json.loads((tmp_path / "out" / "tiny-none-seed0" / "environment.json").read_text())
    assert len(begun["resumed"]) == 1
    assert rows_of(tmp_path) == []
    assert ablation() == 0
    assert [row.arm for row in rows_of(tmp_path)] == ARMS


@pytest.mark.parametrize("error", [TrainingDiverged("The loss became nan."), MemoryError("full")])
def test_a_failed_run_is_reported_and_the_others_go_on(
    error, ablation, tmp_path, monkeypatch, capsys, trained
):
    train = local.run_experiment

    def fail_first(config, directory, resume, **options):
        if config.model.temperature == "none":
            raise error
        return train(config, directory, resume, **options)

    monkeypatch.setattr(local, "run_experiment", fail_first)
    assert ablation() == 1
    assert [row.arm for row in rows_of(tmp_path)] == ["tiny-layer"]
    shown = capsys.readouterr()
    assert f"failed: tiny-none-seed0: {error}" in shown.err
    assert ("Traceback" in shown.err) == isinstance(error, MemoryError)
    assert "| tiny-none | | not yet run |" in shown.out


def test_a_dry_run_judges_the_time_by_measured_rows_and_writes_nothing(
    ablation, tmp_path, trained, capsys
):
    assert ablation("--dry-run") == 0
    shown = capsys.readouterr().out
    assert "tiny-layer-seed0  to do     unknown" in shown
    assert "2 of 2 runs left, time unknown (no run has been measured)" in shown
    assert not list(tmp_path.iterdir())
    assert trained == []

    assert ablation() == 0
    capsys.readouterr()
    assert ablation("--epochs", "10", "--dry-run", "--out", str(tmp_path / "longer")) == 0
    shown = capsys.readouterr().out
    assert "tiny-none-seed0   to do     0:10:00\n" in shown
    assert "time 0:20:00 (estimated from 2 measured runs on a device, one run at a time)" in shown
    assert ablation("--dry-run") == 0
    assert "tiny-none-seed0   finished\n" in capsys.readouterr().out


def test_a_dry_run_prefers_rows_of_the_device_that_it_would_train_on(
    ablation, tmp_path, trained, capsys
):
    here = choose_strategy("cpu").description
    told = {"train_examples": 128, "forward_flops": 1000, "epochs": 1}
    slow = made_up_result(recipe="paper", device=here, seconds=60.0, **told)
    fast = made_up_result(recipe="digits", device="a fast GPU", seconds=1.0, **told)
    append_rows(tmp_path / "results" / "others.jsonl", [slow, fast])
    assert ablation("--dry-run", "--strategy", "cpu") == 0
    assert f"(estimated from 1 measured runs of other recipes on {here}," in capsys.readouterr().out
    assert ablation("--dry-run", "--ray", "HOST:1") == 0
    assert "(estimated from 1 measured runs on a fast GPU," in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "Name a sweep: arms, start, "),
        ("wings", "Received: 'wings'"),
        ("parts --seeds 0", "--seeds must be at least 1. Received: 0"),
        ("parts --epochs 0", "epochs must be at least 1. Received: 0"),
        ("parts --checkpoint-minutes -1", "--checkpoint-minutes must be at least 0"),
        ("parts --shifts none --no-patch-norm", "vanilla and spt would be the same experiment"),
        ("parts --recipe digits --train-examples 1000000", "1000000"),
        ("parts --recipe digits --strategy tpu", "--strategy tpu"),
        ("parts --recipe cpu --data-dir nowhere", "nowhere"),
        ("parts --recipe digits --ray 127.0.0.1:1", "No Ray cluster answers at --ray 127.0.0.1:1"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(arguments, message, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        sweep.main([*arguments.split(), *out], results=tmp_path / "results")
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def refused(capsys, command, *arguments):
    """Run a command line; return the message it ends with."""
    with pytest.raises(SystemExit) as stop:
        command(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_folder_of_another_run_is_refused_before_anything_runs(
    ablation, tmp_path, trained, capsys
):
    config = SWEEP.arms(digits().replace(train={"epochs": 1}))[1].config
    environment = {"backend": keras.backend.backend()}
    RunDirectory(tmp_path / "out" / "tiny-layer-seed0").create(config, environment, [])
    error = refused(capsys, ablation, "--batch-size", "9")
    assert "holds another run. Different there: train.batch_size: 64 -> 9" in error
    error = refused(capsys, ablation, "--epochs", "2")
    assert "tiny-layer-seed0 cannot be extended to 2 epochs" in error
    assert trained == []
    assert ablation() == 0
    assert trained == [("tiny-none", 0, False), ("tiny-layer", 0, True)]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_folder_of_another_sweep_is_refused(dry, ablation, tmp_path, trained, capsys):
    assert ablation() == 0
    told = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert (told["sweep"], told["seeds"]) == ("tiny", 1)
    assert told["backend"] == keras.backend.backend()
    assert "train.batch_size: 64 -> 9" in refused(capsys, ablation, "--batch-size", "9", *dry)
    assert ablation("--seeds", "2") == 0
    assert "seeds: 2 -> 1" in refused(capsys, ablation, *dry)
    assert len(trained) == 4


def test_a_sweep_is_resumed_by_its_folder(ablation, tmp_path, trained, monkeypatch, capsys):
    def die(*arguments):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(runner, "append_rows", die)
        assert ablation("--seeds", "2", "--label-smoothing", "0.3") == 130
    trained.clear()

    def resume(*arguments):
        return sweep.main(["--resume", str(out), *arguments])

    assert resume() == 0
    assert trained == [(arm, seed, False) for seed in (0, 1) for arm in ARMS]
    rows = read_rows(out / "rows.jsonl")
    assert [row.epochs for row in rows] == [1] * 4
    base = digits().replace(train={"epochs": 1, "label_smoothing": 0.3})
    assert rows[0].config_hash == config_hash(SWEEP.arms(base)[0].config)
    assert "another sweep. Changed: train.seed: 0 -> 7" in refused(capsys, resume, "--seed", "7")
    assert "sweep: tiny -> parts" in refused(capsys, resume, "parts")
    assert "leave out --out" in refused(capsys, resume, "--out", "elsewhere")
    elsewhere = ["--resume", str(tmp_path / "results")]
    assert "there is no sweep.json" in refused(capsys, sweep.main, elsewhere)
    assert "holds no comparison of the two arms" in refused(
        capsys, compare.main, ["--resume", str(out)]
    )


def test_what_holds_for_a_run_holds_for_each_run_of_a_sweep(ablation, tmp_path, monkeypatch):
    """Settings change the recipe of all arms, and the options of a single run reach each run."""
    runs = []

    def train(config, directory, resume, tensorboard, checkpoint_minutes):
        runs.append((config.augment.flip, config.model.dropout, tensorboard, checkpoint_minutes))
        return made_up_result(arm=config.arm)

    monkeypatch.setattr(local, "run_experiment", train)
    settings = ["--flip", "--dropout", "0.3"]
    assert ablation(*settings, "--tensorboard", "--checkpoint-minutes", "9") == 0
    assert runs == [(True, 0.3, True, 9.0)] * 2
    (rows,) = (tmp_path / "results").iterdir()
    assert rows.name == "tiny-digits-dropout-0.3-flip-True-epochs-1.jsonl"


def test_a_precision_has_rows_of_its_own(ablation, tmp_path, trained):
    assert ablation("--precision", "bfloat16") == 0
    rows = read_rows(tmp_path / "results" / "tiny-digits-epochs-1-precision-bfloat16.jsonl")
    assert len(rows) == len(trained) == 2


def test_a_file_that_holds_no_rows_is_refused(ablation, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no rows")
    with pytest.raises(SystemExit) as stop:
        ablation("--rows", str(tmp_path / "notes.txt"))
    assert stop.value.code == 2
    assert "line 1 is no row" in capsys.readouterr().err


def test_rows_of_another_place_count(ablation, tmp_path, trained):
    """Rows made on one machine are finished runs on the next, without their directories."""
    assert ablation() == 0
    append_rows(tmp_path / "mine.jsonl", rows_of(tmp_path))
    elsewhere = ["--out", str(tmp_path / "elsewhere"), "--rows", str(tmp_path / "mine.jsonl")]
    assert ablation(*elsewhere) == 0
    assert len(trained) == 2
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == [
        "sweep.md",
        "sweep.png",
    ]


def test_a_comparison_trains_both_arms_and_its_rows_are_the_recipes(tmp_path, trained, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        return compare.main(["--recipe", "digits", *arguments], results=tmp_path)

    assert command("--seeds", "1") == 0
    assert command("--seeds", "2") == 0
    assert trained == [(arm, seed, False) for seed in (0, 1) for arm in ("vanilla", "spt+lsa")]
    rows = read_rows(tmp_path / "digits.jsonl")
    assert [row.arm for row in rows] == ["vanilla", "spt+lsa"] * 2
    told = (tmp_path / "runs" / "compare-digits" / "sweep.md").read_text()
    assert "| spt+lsa − vanilla | +0 | +0.00 ± 0.00 | +0.00 ± 0.00 |" in told
    assert command("--epochs", "1", "--seeds", "1") == 0
    assert len(read_rows(tmp_path / "digits-epochs-1.jsonl")) == 2
    assert (tmp_path / "runs" / "compare-digits-epochs-1" / "sweep.md").exists()


def script(*arguments, name="ablation"):
    return subprocess.run(
        [sys.executable, f"experiments/{name}.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def test_the_script_lists_the_sweeps():
    listed = script("--list")
    assert "parts: Which of the paper's parts gives the gain?" in listed
    assert "vanilla, spt, shifts, patch-norm, lsa, temperature, mask, spt+lsa" in listed
    assert digits().recipe not in listed


def test_the_script_plans_from_the_committed_rows():
    rows = committed_rows("parts-cpu-keras3")
    plan = script("parts", "--recipe", "cpu-keras3", "--dry-run", "--backend", rows[0].backend)
    finished = [line for line in plan.splitlines() if line.endswith("finished")]
    assert len(finished) == sum(row.seed < 3 for row in rows) > 0


def test_a_committed_comparison_is_finished():
    (backend,) = {row.backend for row in committed_rows("cpu-keras3")}
    arguments = ["--recipe", "cpu-keras3", "--seeds", "7", "--dry-run", "--backend", backend]
    assert script(*arguments, name="compare").count("finished") == 14


def committed_rows(name):
    """The rows of a file in experiments/results; the test is skipped without their backend."""
    rows = read_rows(ROOT / "experiments" / "results" / f"{name}.jsonl")
    pytest.importorskip(rows[0].backend)
    return rows
