"""A sweep on a Ray cluster of two nodes, one of which dies in the middle of a run."""

import importlib.util
import json
import shlex
import sys
import threading
import time

import pytest
import ray
from ray.cluster_utils import Cluster

from small_vit.recipes import digits
from small_vit.results.rows import read_rows
from small_vit.results.run_directory import RunDirectory
from small_vit.sweeps import SWEEPS, plan_runs
from small_vit.sweeps.ray_cluster import run_on_ray
from small_vit.sweeps.runner import run_sweep
from tiny import TINY

pytestmark = pytest.mark.any_backend

# Long enough that both runs train when a node is killed, even where one has started late; and tiny
# in all else.
BASE = digits().replace(
    model=TINY, data={"train_examples": 64}, train={"epochs": 60, "batch_size": 64}
)


@pytest.fixture
def cluster():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def epochs_of(run):
    path = run.directory / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_whose_node_dies_goes_on_elsewhere_and_rows_arrive_once(cluster, tmp_path):
    doomed = cluster.add_node(num_cpus=1)
    arms = SWEEPS["temperature"].arms(BASE)
    runs = plan_runs(arms, 1, tmp_path / "runs")[:2]
    # One that fails by itself is reported, not retried: it wants more images than there are.
    broken = plan_runs(arms, 1, tmp_path / "runs")[2]
    config = broken.config.replace(data={"train_examples": 2000})
    runs.append(type(broken)("broken", config, broken.directory))
    rows = tmp_path / "rows.jsonl"
    failed = {}

    # What is said of a run on the command line reaches the nodes.
    tensorboard = importlib.util.find_spec("tensorflow") is not None
    execute = run_on_ray(cluster.address, tensorboard=tensorboard)
    driver = threading.Thread(target=lambda: failed.update(run_sweep(runs, rows, execute)))
    driver.start()
    wait_until(lambda: all(epochs_of(run) >= 2 for run in runs[:2]))
    cluster.remove_node(doomed, allow_graceful=False)
    assert not any(RunDirectory(run.directory).result() for run in runs[:2])
    driver.join(timeout=300)
    assert not driver.is_alive()

    assert list(failed) == ["broken"]
    assert "2000" in str(failed["broken"])
    assert sorted(row.arm for row in read_rows(rows)) == ["layer", "none"]
    begun = [json.loads((run.directory / "environment.json").read_text()) for run in runs[:2]]
    assert sorted(len(environment.get("resumed", [])) for environment in begun) == [0, 1]
    assert all(shlex.join(sys.argv) in environment["command"] for environment in begun)
    for run in runs[:2]:
        assert (run.directory / "tensorboard").exists() == tensorboard
        assert [row["epoch"] for row in RunDirectory(run.directory).history()] == [*range(1, 61)]
