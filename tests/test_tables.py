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
from small_vit.recipes import digits
from small_vit.rows import append_rows, as_row, config_hash
from small_vit.sweeps import SWEEPS

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parent.parent
RESULTS = sorted((ROOT / "experiments" / "results").glob("*.jsonl"))


def result(seed):
    return made_up_result(arm="vanilla", seed=seed)


def test_the_readme_shows_what_the_rows_give():
    text = (ROOT / "README.md").read_text()
    assert "<!-- table: cpu -->" in text
    assert tables.render(text) == text


def test_a_changed_table_in_the_readme_is_put_right():
    text = (ROOT / "README.md").read_text()
    changed = text.replace("| vanilla | ", "| vanilla | 9")
    assert changed != text
    assert tables.render(changed) == text


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_each_row_is_one_run_of_clean_code(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = ("recipe", "dataset", "arm", "seed", "changes")
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
        "| `keras-example` | vanilla | 53.10 / 80.53 | 50.00 ± 0.00 / 75.00 ± 0.00 | 2 |" in table
    )
    assert (
        "| `paper` | spt+lsa | 76.92 / – "
        "| Not yet run: `python run_cifar100.py --recipe paper --compare --seeds 3` | 0 |" in table
    )


def test_the_profile_tells_what_each_part_costs(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "speed").mkdir()
    told = dataclasses.asdict(Workload("tiny", "vanilla", 4, "float32", "none", 1))
    told |= {"backend": "jax", "status": "measured", "device": "a device"}
    parts = [("mlp", 0.1), ("blocks", 0.4), ("mlp", 0.2)]
    rows = [
        told
        | {"without": part, "part_seconds": seconds, "part_fraction": seconds / 0.5}
        | {"part_seconds_quartiles": [seconds - 0.01, seconds + 0.02]}
        for part, seconds in parts
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "speed" / "profile.jsonl").write_text(lines)
    table = tables.render("<!-- table: profile -->\n<!-- end -->").splitlines()
    assert "**jax: tiny, vanilla, batches of 4, float32, augmentation: none**" in table
    dearest = table.index("| all transformer blocks | 0.400 | 0.390 to 0.420 | 80% |")
    assert table[dearest + 1].endswith(" | 0.200 | 0.190 to 0.220 | 40% |")
    assert "On a device." in table


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
        write_json(run / "result.json", dataclasses.asdict(result(seed)))
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
