"""Rows: whose they are, and that each is there once."""

import json

import numpy as np
import pytest
from made_up import made_up_result

from small_vit import ExperimentConfig
from small_vit.errors import InputError
from small_vit.recipes import cpu, digits, keras_example, keras_example_cosine
from small_vit.results.rows import append_rows, as_row, config_hash, read_rows

pytestmark = pytest.mark.any_backend


def result(seed, **changes):
    return made_up_result(seed=seed, **changes)


def test_the_hash_tells_experiments_apart_and_nothing_else():
    config = digits()
    assert config_hash(ExperimentConfig.from_dict(json.loads(json.dumps(config.to_dict())))) == (
        config_hash(config)
    )
    assert config_hash(config.replace(data={"data_dir": "elsewhere"})) == config_hash(config)
    assert config_hash(config.replace(train={"strategy": "cpu"})) == config_hash(config)
    # A recipe is a name for its settings.
    cosine = keras_example().replace(train={"schedule": "warmup_cosine"})
    assert config_hash(cosine) == config_hash(keras_example_cosine())
    others = [config, cpu(), config.replace(train={"seed": 1}), config.replace(model={"stride": 1})]
    assert len(set(map(config_hash, others))) == len(others)


@pytest.mark.parametrize(
    ("section", "one", "other"),
    [
        ("model", {"mlp_ratio": 3}, {"mlp_ratio": 3.0}),
        ("model", {"image_size": 36}, {"image_size": (36, 36)}),
        ("model", {"stride": 3}, {"stride": [3, 3]}),
        ("model", {"head_units": (8,)}, {"head_units": [8]}),
        ("train", {"learning_rate": 1}, {"learning_rate": np.float32(1)}),
        ("model", {"stride": None}, {"stride": 6}),
        ("train", {"decay_exclude": ("norm", "bias")}, {"decay_exclude": ("bias", "norm")}),
    ],
)
def test_a_setting_written_in_two_ways_is_one_experiment(section, one, other):
    first, second = (keras_example().replace(**{section: change}) for change in (one, other))
    assert first == second
    assert config_hash(first) == config_hash(second)
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())


@pytest.mark.parametrize(
    ("section", "change"), [("model", {"qkv_bias": 0}), ("data", {"train_examples": 100.0})]
)
def test_a_setting_of_another_type_is_refused(section, change):
    (name,) = change
    with pytest.raises(InputError, match=f"{name} must be"):
        digits().replace(**{section: change})


def test_a_row_is_there_once_and_old_lines_stay_as_they_are(tmp_path):
    path = tmp_path / "results" / "rows.jsonl"
    assert append_rows(path, [result(0), result(0), result(1)]) == 2
    before = path.read_text()
    assert append_rows(path, [result(1), result(2)]) == 1
    assert path.read_text().startswith(before)
    assert [row.seed for row in read_rows(path)] == [0, 1, 2]


def test_a_damaged_file_of_rows_is_named_and_left_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [result(0)])
    damaged = path.read_text() + '{"recipe": '
    path.write_text(damaged)
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2 is no row"):
        append_rows(path, [result(1)])
    assert path.read_text() == damaged
    with pytest.raises(InputError, match="cannot be read as a file of rows"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("command_line", "shown"),
    [
        ("small-vit train /home/me/photos --out=/tmp/a/run", "small-vit train photos --out=run"),
        ("python run.py 'photos/of me' a/b", "python run.py 'photos/of me' a/b"),
        ("small-vit train '/home/me/of me' /x", "small-vit train 'of me' x"),
    ],
)
def test_a_row_does_not_tell_the_folders_of_a_machine(command_line, shown):
    assert as_row(result(0, command=command_line), digits()).command == shown
