"""The table of runs on folders of images."""

import pytest
from made_up import made_up_result

from folder_tables import folder_table, layer_decay_table
from small_vit.results.rows import append_rows

pytestmark = pytest.mark.any_backend


def row(arm, seed, accuracy):
    return made_up_result(
        dataset="fire",
        recipe="folder",
        arm=arm,
        seed=seed,
        seconds=10.0 * (seed + 1),
        metrics={"accuracy": accuracy, "balanced_accuracy": 0.5, "f1": 0.25},
        intervals={"accuracy": [accuracy - 0.1, accuracy + 0.05]},
    )


def test_arms_are_paired_with_the_baseline_and_shown_with_both_intervals(tmp_path):
    rows = [row("vanilla", 0, 0.6), row("vanilla", 1, 0.8), row("spt+lsa", 0, 0.7)]
    append_rows(tmp_path / "folder-fire.jsonl", rows)
    lines = folder_table([tmp_path / "folder-fire.jsonl"], "vanilla").splitlines()
    assert lines[2].startswith("| fire | `folder` | vanilla | 70.00 ± 127.06 | 50.00 ± 0.00 |")
    assert lines[2].endswith("| 60.0 to 75.0 | 2 | 15 |")
    assert lines[3] == (
        "| fire | `folder` | spt+lsa | 70.00 | 50.00 | 25.00 | 60.0 to 75.0 | 1 | 10 |"
    )
    assert lines[4] == "| fire |  | spt+lsa − vanilla | +10.00 | +0.00 | +0.00 |  | 1 |  |"


def test_layer_decays_are_compared_by_validation_on_each_set_of_images(tmp_path):
    changed = "train.layer_decay: 1.0 -> "
    rows = [
        made_up_result(
            dataset=dataset, seed=seed, validation={"accuracy": accuracy}, changes=changes
        )
        for dataset, seed, accuracy, changes in [
            ("fire", 0, 0.5, []),
            ("birds", 0, 0.7, []),
            ("birds", 0, 0.6, [f"{changed}0.75"]),
            ("birds", 1, 0.8, [f"{changed}0.75"]),
        ]
    ]
    append_rows(tmp_path / "rows.jsonl", rows)
    lines = layer_decay_table(tmp_path / "rows.jsonl").splitlines()
    assert lines[2:5] == [
        "| birds | 0.75 | 70.00 ± 127.06 | 2 |",
        "| birds | 1 | 70.00 | 1 |",
        "| fire | 1 | 50.00 | 1 |",
    ]


def test_without_rows_there_is_no_table(tmp_path):
    assert folder_table([tmp_path / "folder-fire.jsonl"], "vanilla") == ""
    assert layer_decay_table(tmp_path / "rows.jsonl") == ""
