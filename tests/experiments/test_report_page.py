"""The report: what was measured is in it, what was not is told with its command."""

import dataclasses
import json

import pytest
from loaded_page import Loaded
from made_up import made_up_result
from matplotlib.figure import Figure

import report
from small_vit.files import write_json
from small_vit.plots import save
from small_vit.recipes import RECIPES, cpu, keras_example, vanilla
from small_vit.results.rows import append_rows, as_row
from small_vit.results.run_directory import RunDirectory
from small_vit.sweeps import SWEEPS

SPEED = {
    "contender": "ours",
    "backend": "jax",
    "model": "example",
    "arm": "vanilla",
    "batch_size": 64,
    "precision": "float32",
    "augmentation": "example",
    "status": "measured",
    "images_per_second": 100.0,
    "seconds_per_step": 0.64,
    "ratio": 2.0,
    "reference": "keras-example/jax",
    "floor_fraction": 0.25,
    "peak_memory_mb": 900,
    "device": "a device",
    "commit": "0123456789ab",
    "command": "python experiments/benchmark.py",
    "date": "2026-11-21T12:00:00+00:00",
}
FAILED = {"status": "failed", "reason": "no timm\nhere", "contender": "timm", "backend": "torch"}


def result(config, accuracy, seed):
    return made_up_result(
        recipe=config.recipe,
        dataset=config.data.dataset,
        arm=config.arm,
        seed=seed,
        accuracy=accuracy,
        top5_accuracy=0.8,
        epochs=config.train.epochs,
        seconds_per_epoch=1.0,
        command=f"train <b> --seed {seed}",
        device="GPU",
        backend="jax",
    )


def leave_run(path, config, ended):
    """Leave the files that the report reads of a finished run."""
    path.mkdir(parents=True)
    run = RunDirectory(path)
    write_json(run / "config.json", config.to_dict())
    write_json(run / "result.json", dataclasses.asdict(ended))
    losses = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    run.write_history([{"epoch": epoch, **losses} for epoch in (1, 2)])
    save(Figure(figsize=(1, 1)), path / "attention.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report of a comparison with its runs, a sweep that has begun, and a benchmark."""
    root = tmp_path_factory.mktemp("report")
    config = keras_example()
    arms = {"vanilla": vanilla(config), "spt+lsa": config}
    for seed in range(2):
        for (name, arm), accuracy in zip(arms.items(), (0.5, 0.54), strict=True):
            ended = result(arm, accuracy + seed / 100, seed)
            append_rows(root / "results" / "keras-example.jsonl", [as_row(ended, arm)])
            leave_run(root / "runs" / f"{name}-seed{seed}", arm, ended)
    leave_run(root / "runs" / "no-row", config, result(config, 0.9, 9))
    for arm in SWEEPS["parts"].arms(cpu())[:2]:
        rows = [as_row(result(arm.config, 0.3, 0), arm.config)]
        append_rows(root / "results" / "parts-cpu.jsonl", rows)
    speeds = [SPEED, SPEED | FAILED]
    (root / "results" / "speed").mkdir()
    (root / "results" / "speed" / "benchmark.jsonl").write_text("\n".join(map(json.dumps, speeds)))
    run_report("--to", root / "out", "--results", root / "results", "--runs", root / "runs")
    return root / "out"


def run_report(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["report.py", *map(str, arguments)])
        report.main()


def test_a_comparison_shows_both_arms_their_difference_and_the_published(folder):
    text = (folder / "report.md").read_text()
    assert "| vanilla | 0 | 50.50 ± 6.35 | 80.00 ± 0.00 | 53.10 / 80.53 | 2 | 1.0 |" in text
    assert "| spt+lsa − vanilla | +0 | +4.00 ± 0.00 |" in text
    assert "GPU, jax, Keras 3" in text
    assert text.count("train <b> --seed 1\n") == 1


def test_a_sweep_that_has_begun_shows_its_rows_its_plot_and_the_rest(folder):
    text = (folder / "report.md").read_text()
    assert "### parts on cpu" in text and "| spt | 0 | 30.00 | – | +0.00 (1) |" in text
    assert "| lsa | | not yet run |" in text and "(parts-cpu.png)" in text
    assert "The rest: `python experiments/ablation.py parts --recipe cpu`" in text


def test_what_is_not_yet_run_is_told_with_its_command(folder):
    text = (folder / "report.md").read_text()
    for recipe in ("paper", "paper-lr3e-3", "keras-example-cosine"):
        assert f"Not yet run: `python experiments/compare.py --recipe {recipe} --seeds" in text
    assert "spt+lsa on cifar100: published top-1 / top-5 76.92 / – %" in text
    for sweep in SWEEPS:
        for recipe in ("keras-example", "paper", "cpu"):
            command = f"Not yet run: `python experiments/ablation.py {sweep} --recipe {recipe}`"
            assert (command in text) == ((sweep, recipe) != ("parts", "cpu"))


def test_the_speed_of_a_step_is_shown(folder):
    text = (folder / "report.md").read_text()
    assert "| ours/jax | 100.0 | 0.6400 | × 2.00 | keras-example/jax | 25.0% | 900 |" in text
    assert "- timm/torch failed: no timm here" in text


def test_pictures_of_the_runs_that_have_rows_lie_beside_the_markdown(folder):
    assert {path.name for path in folder.iterdir()} == {
        "report.md",
        "report.html",
        "keras-example-curves.png",
        "keras-example-vanilla-attention.png",
        "keras-example-spt+lsa-attention.png",
        "parts-cpu.png",
    }


def test_the_page_loads_nothing(folder):
    page = (folder / "report.html").read_text()
    loaded = Loaded(page)
    assert len(loaded.sources) == loaded.tags.count("img") == 4
    assert all(source.startswith("data:image/png;base64,") for source in loaded.sources)
    assert not {"script", "link", "iframe", "b"} & set(loaded.tags)
    assert "url(" not in page and "@import" not in page
    assert loaded.tags.count("table") == 4 and "train <b> --seed 1" in loaded.text


def test_a_report_without_rows_is_all_to_come(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)  # no runs/ there
    (tmp_path / "results").mkdir()
    run_report("--to", tmp_path / "out", "--results", tmp_path / "results")
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.count("Not yet run: ") == len(RECIPES) + 3 * len(SWEEPS) + 1


@pytest.mark.parametrize("name", ["keras-example", "parts-cpu", "speed/benchmark"])
def test_damaged_rows_are_refused(name, tmp_path, capsys):
    path = tmp_path / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    for line in ("{", '{"arm": "vanilla"}', "[]"):
        path.write_text(line)
        refused(capsys, path.name, "--results", tmp_path, "--to", tmp_path / "out")


def test_folders_that_hold_nothing_are_refused(tmp_path, capsys):
    refused(capsys, "folder of rows", "--results", tmp_path / "absent", "--to", tmp_path / "out")
    refused(capsys, "no finished run", "--runs", tmp_path, "--to", tmp_path / "out")
    (tmp_path / "file").touch()
    refused(capsys, "Could not make the folder", "--to", tmp_path / "file")


def refused(capsys, message, *arguments):
    with pytest.raises(SystemExit) as stop:
        run_report(*arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("error: ") and message in error
