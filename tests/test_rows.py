"""Rows: whose they are, and that each is there once."""

import json

import pytest
from made_up import made_up_result

from small_vit import ExperimentConfig
from small_vit.errors import InputError
from small_vit.recipes import cpu, digits, keras_example, keras_example_cosine
from small_vit.rows import append_rows, config_hash, read_rows

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


def test_a_row_is_there_once_and_old_lines_stay_as_they_are(tmp_path):
    path = tmp_path / "results" / "rows.jsonl"
    assert append_rows(path, [result(0), result(0), result(1)]) == 2
    before = path.read_text()
    assert append_rows(path, [result(1, config_hash="abc"), result(2)]) == 1
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
