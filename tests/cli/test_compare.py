"""The `compare` command trains the plain model and SPT+LSA on the same seeds."""

import pytest

import run_cifar100
from small_vit.cli import compare
from small_vit.results.rows import read_rows
from small_vit.results.run_directory import RunDirectory

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("without_reports")]

TINY = (
    "--recipe digits --num-layers 1 --projection-dim 8 --num-heads 1 --key-dim 8 --patch-size 4 "
    "--train-examples 128 --epochs 1 --seed 3"
).split()
RUNS = ["vanilla-seed3", "spt+lsa-seed3", "vanilla-seed4", "spt+lsa-seed4"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of a finished comparison of two seeds."""
    folder = tmp_path_factory.mktemp("comparison") / "out"
    assert compare.main([*TINY, "--seeds", "2", "--out", str(folder)]) == 0
    return folder


def refused(capsys, *arguments):
    """Run the command line; return the message it ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        compare.main([*map(str, arguments)])
    assert stop.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_both_arms_are_trained_on_the_same_seeds(compared):
    rows = read_rows(compared / "rows.jsonl")
    assert [f"{row.arm}-seed{row.seed}" for row in rows] == RUNS
    results = [RunDirectory(compared / name).result() for name in RUNS]
    assert [row.metrics for row in rows] == [result.metrics for result in results]
    vanilla, both = (RunDirectory(compared / name).config().model for name in RUNS[:2])
    assert vanilla == both.vanilla() != both


def test_it_leaves_the_table_with_the_curves(compared):
    told = (compared / "sweep.md").read_text()
    assert "| spt+lsa − vanilla |" in told
    assert "(sweep.png)" in told and "(curves.png)" in told
    for picture in ("sweep.png", "curves.png"):
        assert (compared / picture).read_bytes().startswith(b"\x89PNG")


def test_run_cifar100_resumes_a_comparison_as_one(compared, capsys):
    assert run_cifar100.main(["--resume", str(compared)]) == 0
    assert "| spt+lsa − vanilla |" in capsys.readouterr().out


def test_the_same_command_trains_what_is_left(compared, capsys):
    rows = read_rows(compared / "rows.jsonl")
    assert compare.main(["--resume", str(compared)]) == 0
    assert "runs ended" not in capsys.readouterr().out
    # A run that has lost its row, its result and its checkpoint is trained anew to the same end.
    (compared / "rows.jsonl").write_text(
        "".join((compared / "rows.jsonl").read_text().splitlines(keepends=True)[:3])
    )
    (compared / "spt+lsa-seed4" / "result.json").unlink()
    assert compare.main([*TINY, "--seeds", "2", "--out", str(compared)]) == 0
    assert "1 of 1 runs ended  spt+lsa-seed4" in capsys.readouterr().out
    again = read_rows(compared / "rows.jsonl")
    assert again[:3] == rows[:3]
    assert again[3].metrics == pytest.approx(rows[3].metrics)
    assert (compared / "spt+lsa-seed4" / "result.json").exists()


def test_a_folder_that_holds_something_else_is_refused(compared, tmp_path, capsys):
    resume = ["--resume", compared]
    error = refused(capsys, *resume, "--batch-size", "9")
    assert "holds another run. Different there: train.batch_size: 64 -> 9" in error
    error = refused(capsys, *resume, "--epochs", "9")
    assert "cannot be extended to 9 epochs: under schedule=warmup_cosine" in error
    assert "another sweep. Changed: seeds: 2 -> 1" in refused(capsys, *resume, "--seeds", "1")
    run = compared / "vanilla-seed3"
    assert "holds a single run" in refused(capsys, *TINY, "--out", run)
    assert "holds no comparison" in refused(capsys, "--resume", run)
    (tmp_path / "sweep.json").write_text("{}")
    for arguments in (["--resume", tmp_path], [*TINY, "--out", tmp_path]):
        error = refused(capsys, *arguments)
        assert "sweep.json cannot be read as the plan of a sweep" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--vanilla", "leave out --vanilla"),
        (
            "--shifts none --no-patch-norm --temperature none --no-diagonal-mask",
            "vanilla and spt+lsa would be the same experiment",
        ),
        ("--seeds 0", "--seeds must be at least 1"),
        ("--train-examples 1000000", "1000000"),
        ("--seed 4294967295 --seeds 2", "below 2**32"),
    ],
)
def test_bad_input_leaves_no_folder(arguments, message, tmp_path, capsys):
    error = refused(capsys, *TINY, "--out", tmp_path / "out", *arguments.split())
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
