"""The speed benchmark: its counts, that contenders are what their names say, turns and rows."""

import contextlib
import json
import math
import sys

import keras
import numpy as np
import pytest

import benchmark
from benchmarks import rows as benchmark_rows
from benchmarks.contenders import Contender, Name, all_contenders
from benchmarks.floor import step_bytes, step_flops
from benchmarks.keras_example import build
from benchmarks.turns import Worker, WorkerFailed, take_turns
from benchmarks.workload import MODELS, Workload
from layer_harness import to_numpy
from small_vit import create_vit_classifier
from small_vit.models.registry import count_multiply_adds

BACKEND = keras.backend.backend()
TINY = Workload("tiny", "spt+lsa", 4, "float32", "example", steps=2)
PAPERS = Workload("tiny", "vanilla", 4, "float32", "paper", steps=2)


def count_parameters(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


# ------------------------------------------------------------------------ counts


def test_a_step_is_three_forward_passes_without_the_gradient_of_the_images():
    model = MODELS["paper"]
    forward = count_multiply_adds(model, (32, 32, 3), 100).total
    assert step_flops(model, batch_size=2) == 2 * 2 * 3 * forward
    vanilla = count_multiply_adds(model.vanilla(), (32, 32, 3), 100)
    unneeded = vanilla.patch_projection
    assert step_flops(model.vanilla(), 1) == 2 * (3 * vanilla.total - unneeded)


@pytest.mark.skipif(BACKEND != "jax", reason="XLA's own count, as JAX tells it")
@pytest.mark.parametrize("name", ["example", "paper"])
@pytest.mark.parametrize("arm", ["vanilla", "spt+lsa"])
def test_the_flops_of_a_step_are_the_compilers_count(name, arm):
    import jax

    config = MODELS[name].vanilla() if arm == "vanilla" else MODELS[name]
    model = create_vit_classifier(config)
    fixed = [variable.value for variable in model.non_trainable_variables]

    def loss(trainable, images):
        return keras.ops.sum(model.stateless_call(trainable, fixed, images, training=False)[0])

    weights = [variable.value for variable in model.trainable_variables]
    gradients = jax.jit(jax.grad(loss)).lower(weights, np.zeros((2, 32, 32, 3), "uint8"))
    counted = step_flops(config, batch_size=2)
    # XLA counts softmax, norms and GELU too.
    assert counted < gradients.cost_analysis()["flops"] < 1.25 * counted


def test_a_step_reads_and_writes_weights_and_moments_and_reads_images():
    assert step_bytes(parameters=10, batch_size=1) == 240 + 3072


# ------------------------------------------------------------------- contenders


@pytest.mark.parametrize(("arm", "parameters"), [("vanilla", 21759012), ("spt+lsa", 21787748)])
def test_the_examples_formulation_has_the_examples_weights(arm, parameters):
    config = MODELS["example"].vanilla() if arm == "vanilla" else MODELS["example"]
    assert count_parameters(build(config)) == parameters


def test_the_examples_formulation_starts_as_the_example_did():
    """Limits of query, key and value, and of the output: Keras 2's fans of a convolution."""
    model = build(MODELS["example"])
    largest = {
        shape: max(np.abs(to_numpy(v)).max() for v in model.weights if tuple(v.shape) == shape)
        for shape in [(64, 4, 64), (4, 64, 64)]
    }
    limits = {(64, 4, 64): (6 / (256 + 4096)) ** 0.5, (4, 64, 64): (6 / 512) ** 0.5}
    for shape, limit in limits.items():
        assert 0.99 * limit < largest[shape] <= limit * 1.000001


def test_the_examples_formulation_computes_what_our_model_computes():
    config = MODELS["tiny"]
    theirs, ours = build(config), create_vit_classifier(config)
    assert [w.shape for w in theirs.trainable_weights] == [w.shape for w in ours.trainable_weights]
    for mine, their in zip(ours.trainable_weights, theirs.trainable_weights, strict=True):
        their.assign(np.array(keras.ops.convert_to_numpy(mine)))
    images = np.random.default_rng(0).uniform(0, 1, (4, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(
        theirs.predict(images, verbose=0), ours.predict(images, verbose=0), atol=1e-5
    )


def test_the_papers_model_is_the_papers():
    assert count_parameters(create_vit_classifier(MODELS["paper"])) == 2_747_248
    assert count_parameters(create_vit_classifier(MODELS["paper"].vanilla())) == 2_709_796


def test_libraries_are_on_torch_only():
    everyone = all_contenders(("jax", "torch"), Name.__args__)
    assert {each.backend for each in everyone if each.library} == {"torch"}
    assert all_contenders(("jax",), ("ours", "timm")) == [Contender("ours", "jax")]


def test_contenders_support_the_arms_and_augmentations_they_have():
    def workload(arm, augmentation="example"):
        return Workload("paper", arm, 1, "float32", augmentation, steps=1)

    assert not Contender("vit-pytorch-compiled", "torch").supports(workload("vanilla"))
    assert not Contender("timm", "torch").supports(workload("spt+lsa"))
    assert not Contender("keras-example", "jax").supports(workload("vanilla", "paper"))
    assert Contender("ours", "jax").supports(workload("vanilla", "paper"))
    assert Contender("timm", "torch").supports(workload("vanilla", "paper"))


def test_the_floor_is_of_the_model_that_is_trained():
    def workload(model):
        return Workload(model, "vanilla", 64, "float32", "example", steps=1)

    ours = Contender("ours", "jax").model(workload("example"))
    common = Contender("ours-common-head", "jax").model(workload("example"))
    assert ours == MODELS["example"].vanilla()
    assert (common.pooling, common.head_units) == ("class_token", ())
    assert Contender("timm", "torch").model(workload("example")) == common
    assert Contender("keras-example", "jax").model(workload("paper")).pooling == "mean"


def test_other_families_have_their_published_size_and_no_floor(monkeypatch):
    workload = Workload("cpu", "vanilla", 1, "float32", "none", steps=1)
    contenders = [Contender(name, BACKEND) for name in ("resnet20", "cct-2/3x2")]
    assert all(each.supports(workload) for each in contenders)
    assert [each.prepare(workload)[1] for each in contenders] == [275_572, 295_333]
    workers = iter([FakeWorker("peaks", 1.0, []), FakeWorker("resnet20", 1.0, [])])
    monkeypatch.setattr(benchmark_rows, "Worker", lambda backend, python: next(workers))
    (row,) = benchmark_rows.measure(workload, contenders[:1], {BACKEND: "python"}, rounds=1)
    assert row["images_per_second"] == 1.0
    assert "floor_fraction" not in row


@pytest.mark.skipif(BACKEND != "torch", reason="other libraries' models are PyTorch's")
def test_libraries_train_on_the_papers_augmentation():
    pytest.importorskip("timm", exc_type=ImportError)
    Contender("timm", "torch").prepare(PAPERS)[0]()


@pytest.mark.skipif(BACKEND != "torch", reason="other libraries' models are PyTorch's")
@pytest.mark.parametrize(
    ("library", "model", "arm", "parameters"),
    [
        ("transformers", "paper", "vanilla", 2_709_796),
        ("timm", "paper", "vanilla", 2_709_796),
        # Heads as wide as the tokens, which not every release knows.
        ("transformers", "example", "vanilla", 688_548),
        ("timm", "example", "vanilla", 688_548),
        # One temperature a layer, not one a head.
        ("vit-pytorch", "paper", "spt+lsa", 2_747_248 - 9 * 11),
    ],
)
def test_libraries_build_the_same_shapes(library, model, arm, parameters):
    pytest.importorskip(library.replace("-", "_"), exc_type=ImportError)
    workload = Workload(model, arm, 1, "float32", "example", steps=1)
    assert Contender(library, "torch").prepare(workload)[1] == parameters


# --------------------------------------------------------------- turns and rows


class FakeWorker(contextlib.nullcontext):
    """Takes its seconds once for the first measurement, twice for the second, and so on."""

    def __init__(self, name, seconds, log, fails_at=None):
        super().__init__(self)
        self.name, self.seconds, self.log, self.fails_at = name, seconds, log, fails_at
        self.runs = 0

    def ask(self, request):
        if self.runs == self.fails_at:
            raise WorkerFailed("out of memory")
        self.runs += 1
        if request != "run":
            return {"device": "a machine", "versions": {}, "parameters": 1000}
        self.log.append(self.name)
        return {"seconds": self.seconds * (self.runs // 2), "peak_memory_mb": 7}


def fakes(log, **fails_at):
    seconds = {"a": 1.0, "b": 2.0, "c": 4.0}
    return {
        Contender(name, "jax"): FakeWorker(name, s, log, fails_at.get(name))
        for name, s in seconds.items()
    }


def test_contenders_take_turns():
    log = []
    _, measured, failures = take_turns(fakes(log), TINY, 3)
    assert log == list("aabbcc" * 3)  # untimed, then measured
    assert not failures
    assert [figures["seconds"] for figures in measured[Contender("b", "jax")]] == [2.0, 4.0, 6.0]


def test_one_that_fails_does_not_stop_the_others():
    log = []
    _, measured, failures = take_turns(fakes(log, a=0, b=2), TINY, 3)
    assert log == list("bcc" + "cc" * 2)
    assert [each.name for each in measured] == ["c"]
    assert {each.name: reason for each, reason in failures.items()} == dict.fromkeys(
        "ab", "out of memory"
    )


def test_rows_say_speed_ratio_and_floor(monkeypatch):
    flops = step_flops(MODELS["tiny"], 4)
    peaks = FakeWorker("peaks", 1.0, [])
    ask = peaks.ask
    # Its last measurement is the best: the step's operations in a second.
    peaks.ask = lambda request: ask(request) | {"matmul": flops * peaks.runs / 7, "copy": 1e12}
    workers = iter([peaks, FakeWorker("ours", 1.0, []), FakeWorker("keras-example", 2.0, [])])
    monkeypatch.setattr(benchmark_rows, "Worker", lambda backend, python: next(workers))
    contenders = [Contender("ours", "jax"), Contender("keras-example", "jax")]
    row, reference = benchmark_rows.measure(TINY, contenders, {"jax": "python"}, rounds=3)
    # Rounds of 1, 2 and 3 s; each 2 steps of 4 images.
    assert row["images_per_second"] == 4.0
    assert row["images_per_second_quartiles"] == [3.333, 6.0]
    assert row["seconds_per_step"] == 1.0
    assert (row["reference"], row["ratio"]) == ("keras-example/jax", 2.0)
    assert row["ratio_quartiles"] == [2.0, 2.0]
    assert reference["ratio"] == 1.0
    assert row["floor_fraction"] == 1.0
    assert row["date"] == reference["date"]
    assert json.loads(json.dumps(row)) == row


# ----------------------------------------------------------- real, tiny processes


def run_benchmark(tmp_path, *arguments):
    rows = tmp_path / "rows.jsonl"
    small = ["--models", "tiny", "--arms", "vanilla", "--batch-sizes", "4", "--rounds", "2"]
    benchmark.main(
        [*small, "--steps", "2", "--augmentations", "none", "--to", str(rows), *arguments]
    )
    return [json.loads(line) for line in rows.read_text().splitlines()]


@pytest.mark.any_backend
def test_two_contenders_and_a_python_that_fails(tmp_path, capsys):
    other = next(name for name in ("torch", "jax", "tensorflow") if name != BACKEND)
    empty = tmp_path / "python"
    empty.write_text("#!/bin/sh\necho 'ImportError: nothing here' >&2\nexit 3\n")
    empty.chmod(0o755)
    arguments = ["--backends", BACKEND, other, "--contenders", "ours-common-head", "keras-example"]
    rows = run_benchmark(tmp_path, *arguments, "--python", other, str(empty))
    measured = {row["contender"]: row for row in rows if row["backend"] == BACKEND}
    assert measured["keras-example"]["ratio"] == 1.0
    row = measured["ours-common-head"]
    assert row["reference"] == f"keras-example/{BACKEND}"
    assert row["ratio"] > 0
    assert 0 < row["floor_fraction"] < 1
    assert row["peak_memory_mb"] > 50
    assert BACKEND in row["versions"]
    failed = [row for row in rows if row["backend"] == other]
    assert [row["reason"] for row in failed] == ["ImportError: nothing here"] * 2
    printed = capsys.readouterr().out
    assert f"ours-common-head/{BACKEND}" in printed
    assert f"keras-example/{other} failed: ImportError: nothing here" in printed


def test_leaving_a_worker_ends_its_process():
    with Worker(BACKEND, sys.executable) as worker:
        assert worker.process.poll() is None
    assert worker.process.poll() is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be at least 1. Received: 0."),
        (["--batch-sizes", "4", "0"], "--batch-sizes must be at least 1. Received: 0."),
        (["--backends", "jax", "--contenders", "timm"], "--contenders timm: none supports this"),
        (["--backends", "jax", "--reference", "ours", "torch"], "--reference ours torch is not"),
        (["--python", "jax", "/absent"], "--python names no program: /absent."),
    ],
)
@pytest.mark.any_backend
def test_bad_input_is_refused(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run_benchmark(tmp_path, *arguments)
    assert stop.value.code == 2
    assert f"error: {message}" in capsys.readouterr().err
