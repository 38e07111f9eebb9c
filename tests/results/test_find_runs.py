"""Runs are found at any depth, by how far they are."""

import dataclasses

import pytest
from made_up import made_up_result

from small_vit.errors import InputError
from small_vit.files import write_json
from small_vit.recipes import digits
from small_vit.results.find_runs import find_runs, runs_in
from small_vit.results.run_directory import RunDirectory

pytestmark = pytest.mark.any_backend


@pytest.fixture
def runs(tmp_path):
    """Folder of four runs: just started, after an epoch, finished, and being extended."""
    for name, epochs in {"new": None, "a/going": None, "a/done": 5, "a/b/longer": 3}.items():
        run = RunDirectory(tmp_path / name)
        run.path.mkdir(parents=True)
        write_json(run / "config.json", digits().replace(train={"epochs": 5}).to_dict())
        if name != "new":
            run.write_history([{"epoch": 1}])
        if epochs:
            write_json(run / "result.json", dataclasses.asdict(made_up_result(epochs=epochs)))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("config.json", ["a/b/longer", "a/done", "a/going", "new"]),
        ("metrics.jsonl", ["a/b/longer", "a/done", "a/going"]),
        ("result.json", ["a/done"]),
    ],
)
def test_runs_are_found_by_what_they_have_written(runs, file, expected):
    found = [run.path.relative_to(runs).as_posix() for run in find_runs(runs, file)]
    assert found == expected


def test_a_run_directory_holds_its_own_run(runs):
    assert [run.path for run in runs_in([runs / "new", runs / "a" / "done"])] == [
        runs / "new",
        runs / "a" / "done",
    ]


@pytest.mark.parametrize(
    ("folder", "file", "message"),
    [
        ("absent", "config.json", "absent holds no run"),
        ("new", "metrics.jsonl", "new holds no run that has finished an epoch"),
        ("a/b", "result.json", "b holds no finished run"),
    ],
)
def test_a_folder_without_such_a_run_is_refused(runs, folder, file, message):
    assert find_runs(runs / folder, file) == []
    with pytest.raises(InputError, match=message):
        runs_in([runs, runs / folder], file)
