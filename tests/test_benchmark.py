"""The referee of the speed benchmark, its counts, and that contenders are what they are named."""

import dataclasses
import json
import os
import sys

import keras
import numpy as np
import pytest

import benchmark
from benchmarks.contenders import Contender, Name, all_contenders
from benchmarks.floor import floor_seconds, step_bytes, step_flops
from benchmarks.keras_example import build
from benchmarks.ours import prepare as prepare_ours
from benchmarks.parts import PARTS, parts_of
from benchmarks.prepared import count_parameters
from benchmarks.referee import Worker, WorkerFailed, prepare_all, quartiles, ratios, take_turns
from benchmarks.rows import missing_row, speed_row
from benchmarks.variants import VARIANTS
from benchmarks.workload import MODELS, Workload, with_common_head
from layer_harness import to_numpy
from small_vit import assembly, create_vit_classifier
from small_vit.errors import InputError
from small_vit.layers import HashedDropout, MultiHeadAttentionLSA
from small_vit.multiply_adds import count_multiply_adds

BACKEND = keras.backend.backend()
TINY = Workload("tiny", "spt+lsa", 4, "float32", "example", steps=2)
PAPERS = Workload("tiny", "vanilla", 4, "float32", "paper", steps=2)


# ------------------------------------------------------------------------ counts


def test_a_step_is_three_forward_passes_without_the_gradient_of_the_images():
    model = MODELS["paper"]
    forward = count_multiply_adds(model, 3, 100).total
    assert step_flops(model, batch_size=2) == 2 * 2 * 3 * forward
    vanilla = count_multiply_adds(model.vanilla(), 3, 100)
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


def test_the_floor_is_the_larger_of_arithmetic_and_memory():
    assert floor_seconds(100, 10, matmul_flops_per_second=10, copy_bytes_per_second=10) == 10
    assert floor_seconds(10, 100, matmul_flops_per_second=10, copy_bytes_per_second=5) == 20
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


def test_libraries_take_part_on_torch_in_the_arms_they_have():
    everyone = all_contenders(("jax", "torch"), Name.__args__)
    assert {each.backend for each in everyone if each.library} == {"torch"}
    assert all_contenders(("jax",), ("ours", "ours-without-xla")) == [Contender("ours", "jax")]


def test_contenders_are_asked_only_for_what_they_have():
    def workload(arm, augmentation="example"):
        return Workload("paper", arm, 1, "float32", augmentation, steps=1)

    assert not Contender("vit-pytorch-compiled", "torch").has(workload("vanilla"))
    assert not Contender("timm", "torch").has(workload("spt+lsa"))
    assert not Contender("keras-example", "jax").has(workload("vanilla", "paper"))
    assert Contender("ours-system-malloc", "jax").has(workload("vanilla", "paper"))
    assert Contender("timm", "torch").has(workload("vanilla", "paper"))
    assert not Contender("ours-keras-augmentation", "jax").has(workload("vanilla", "paper"))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere XLA is not ours to switch")
def test_without_xla_the_same_weights_are_trained():
    def trained(change):
        engines = []
        watched = dataclasses.replace(
            change, after_compile=lambda e: (change.after_compile(e), engines.append(e))
        )
        prepare_ours(TINY, watched).run()
        return engines[0].model

    ours, other = trained(VARIANTS["ours"]), trained(VARIANTS["ours-without-xla"])
    for weights, plain in zip(other.trainable_weights, ours.trainable_weights, strict=True):
        np.testing.assert_allclose(to_numpy(weights), to_numpy(plain), atol=1e-5)
    assert ours.jit_compile
    assert not other.jit_compile


def test_kerass_own_augmentation_trains_in_place_of_ours(monkeypatch):
    monkeypatch.setattr(assembly, "RandomAffine", assembly.RandomAffine)
    layers = []
    change = dataclasses.replace(
        VARIANTS["ours-keras-augmentation"],
        before_compile=lambda model: layers.extend(model.get_layer("augmentation").layers),
    )
    prepare_ours(TINY, change).run()
    kinds = [type(layer) for layer in layers]
    assert keras.layers.RandomZoom in kinds
    assert assembly.RandomAffine not in kinds


def test_kerass_own_dropout_takes_the_place_of_ours(monkeypatch):
    drawn = []
    module = sys.modules[HashedDropout.__module__]
    monkeypatch.setattr(module, "hashed_dropout", module.hashed_dropout)  # put back after

    def dropout(inputs, *how, **named):
        drawn.append(inputs)
        return inputs

    monkeypatch.setattr(keras.random, "dropout", dropout)
    prepare_ours(TINY, VARIANTS["ours-keras-dropout"]).run()
    # Of the attention, the MLP's two layers, the head's input and its hidden layer; PyTorch, which
    # traces nothing, draws in each of the two steps.
    assert len(drawn) == (10 if BACKEND == "torch" else 5)


@pytest.mark.parametrize("name", ["attention", "softmax", "layer-norm"])
def test_what_a_part_leaves_out_keeps_every_weight_in_training(name, monkeypatch):
    """So that what remains is still all computed, backward too."""
    for owner, what in [
        (MultiHeadAttentionLSA, "_compute_attention"),
        (MultiHeadAttentionLSA, "_masked_softmax"),
        (keras.layers.LayerNormalization, "call"),
    ]:
        monkeypatch.setattr(owner, what, getattr(owner, what))  # put back after
    models, before = [], []

    def watch(trained):
        models.append(trained.model)
        before.extend(to_numpy(weight) for weight in trained.model.trainable_weights)

    prepare_ours(TINY, dataclasses.replace(PARTS[name], after_compile=watch)).run()
    after = models[0].trainable_weights
    still = [
        weight.path
        for weight, old in zip(after, before, strict=True)
        if (to_numpy(weight) == old).all()
    ]
    assert not still


@pytest.mark.skipif(BACKEND != "torch", reason="other libraries' models are PyTorch's")
def test_libraries_train_on_the_papers_augmentation():
    pytest.importorskip("timm", exc_type=ImportError)
    Contender("timm", "torch").prepare(PAPERS).run()


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
    assert Contender(library, "torch").prepare(workload).parameters == parameters


def test_a_row_counts_the_model_that_was_trained():
    example = Workload("example", "vanilla", 64, "float32", "example", 1)
    shapes = with_common_head(MODELS["example"].vanilla())
    assert Contender("ours", "jax").head(example) == "flatten+2048+1024"
    assert Contender("ours-common-head", "jax").head(example) == "class_token"
    assert Contender("timm", "torch").model(example) == shapes
    paper = Workload("paper", "vanilla", 64, "float32", "example", 1)
    assert Contender("keras-example", "jax").head(paper) == "mean"


def test_parts_that_a_step_does_not_have_are_not_left_out():
    whole = parts_of(Workload("example", "spt+lsa", 4, "float32", "example", 1).config)
    papers = {"auto-augment", "crop", "erasing", "mix"}
    assert set(whole) == set(PARTS) - papers
    assert papers < set(parts_of(Workload("paper", "vanilla", 4, "float32", "paper", 1).config))
    vanilla = parts_of(Workload("paper", "vanilla", 4, "float32", "none", 1).config)
    assert set(whole) - set(vanilla) == {
        "attention-dropout",
        "diagonal-mask",
        "tokenization",
        "augmentation",
    }


# ---------------------------------------------------------------------- referee


class FakeWorker:
    def __init__(self, name, seconds, log, fails_at=None):
        self.name, self.seconds, self.log, self.fails_at = name, seconds, log, fails_at
        self.runs = 0

    def prepare(self):
        if self.fails_at == 0:
            raise WorkerFailed("no compiler")

    def run(self):
        self.runs += 1
        if self.runs == self.fails_at:
            raise WorkerFailed("out of memory")
        self.log.append(self.name)
        return {"seconds": self.seconds * self.runs, "peak_memory_mb": 1}


def fakes(log, **fails_at):
    seconds = {"a": 1.0, "b": 2.0, "c": 4.0}
    return {name: FakeWorker(name, s, log, fails_at.get(name)) for name, s in seconds.items()}


def test_contenders_take_turns():
    log, ticks = [], []
    measured, failures = take_turns(fakes(log), 3, lambda: ticks.append(1))
    assert log == list("aabbcc" * 3)  # untimed, then measured
    assert len(ticks) == 9
    assert not failures
    assert [figures["seconds"] for figures in measured["b"]] == [4.0, 8.0, 12.0]


def test_one_that_fails_does_not_stop_the_others():
    log = []
    ready, failures = prepare_all(fakes(log, a=0), lambda: None)
    assert list(ready) == ["b", "c"]
    assert str(failures["a"]) == "no compiler"
    measured, failures = take_turns(fakes(log, b=2), 3, lambda: None)
    assert log == list("aabcc" + "aacc" * 2)
    assert list(measured) == ["a", "c"]
    assert str(failures["b"]) == "out of memory"


def test_ratios_are_taken_within_rounds():
    # The machine slows down to a third; both share it.
    assert ratios([1.0, 2.0, 3.0], [2.0, 4.0, 9.0]) == [2.0, 2.0, 3.0]
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_a_row_says_speed_ratio_and_floor():
    facts = {
        "parameters": 1000,
        "device": "a machine",
        "versions": {},
        "start_seconds": 2.0,
        "first_seconds": 9.0,
    }
    rounds = [{"seconds": s, "peak_memory_mb": 7} for s in (1.0, 2.0, 4.0)]
    twice = [{"seconds": 2 * s, "peak_memory_mb": 7} for s in (1.0, 2.0, 4.0)]
    flops = step_flops(MODELS["tiny"], 4)
    peaks = [{"matmul": flops, "copy": 1e12}, {"matmul": 2 * flops, "copy": 1e12}]
    contender = Contender("ours", "jax")
    row = speed_row("first", contender, TINY, facts, rounds, ("keras-example/jax", twice), peaks)
    assert row["images_per_second"] == 4.0  # 2 steps of 4 images in 2 s
    assert row["images_per_second_quartiles"] == [3.0, 6.0]
    assert row["seconds_per_step"] == 1.0
    assert row["first_step_seconds"] == 8.0  # one of the two steps took a second
    assert (row["reference"], row["ratio"]) == ("keras-example/jax", 2.0)
    assert row["ratio_quartiles"] == [2.0, 2.0]
    assert row["floor_fraction"] == 0.5
    assert json.loads(json.dumps(row)) == row


def test_a_missing_contender_is_named_with_the_reason():
    row = missing_row(Contender("timm", "torch"), TINY, WorkerFailed("no compiler"))
    assert (row["contender"], row["status"], row["reason"]) == ("timm", "failed", "no compiler")


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
    assert "ImportError: nothing here" in capsys.readouterr().out


@pytest.mark.any_backend
def test_a_start_is_timed_with_and_without_compiled_programs(tmp_path, capsys):
    rows = run_benchmark(tmp_path, "--backends", BACKEND, "--starts")
    assert [row["contender"] for row in rows] == ["ours"]
    assert rows[0]["steps"] == 1
    assert rows[0]["rounds"] == 2
    for time in ("first_time", "second_time"):
        low, high = rows[0][f"{time}_quartiles"]
        assert 0.1 < low <= rows[0][f"{time}_seconds"] <= high
    assert f"ours/{BACKEND}" in capsys.readouterr().out


def test_the_profile_has_a_row_for_each_part(tmp_path, capsys):
    rows = run_benchmark(tmp_path, "--backends", BACKEND, "--profile", "--rounds", "1")
    config = dataclasses.replace(TINY, arm="vanilla", augmentation="none").config
    assert [row["without"] for row in rows] == parts_of(config)
    assert all(row["status"] == "measured" for row in rows)
    assert "all transformer blocks" in capsys.readouterr().out


@pytest.mark.skipif(BACKEND != "jax" or os.cpu_count() < 2, reason="divides JAX's CPU")
def test_each_core_may_be_a_device(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    workload = dataclasses.replace(TINY, batch_size=os.cpu_count())
    contender = Contender("ours-device-per-core", "jax")
    with Worker(contender, workload, "jax", sys.executable) as worker:
        worker.prepare()
        assert worker.facts["device"].startswith(f"{os.cpu_count()} x ")


def test_a_worker_that_is_left_is_ended():
    with Worker(Contender("ours", BACKEND), TINY, BACKEND, sys.executable) as worker:
        assert worker.process.poll() is None
    assert worker.process.poll() is not None


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="2"):
        run_benchmark(tmp_path, "--rounds", "0")
    with pytest.raises(SystemExit, match="2"):
        run_benchmark(tmp_path, "--profile", "--starts")
    with pytest.raises(SystemExit, match="2"):
        run_benchmark(tmp_path, "--backends", "jax", "--contenders", "timm")
    with pytest.raises(SystemExit, match="2"):
        run_benchmark(tmp_path, "--backends", "jax", "--reference", "ours", "torch")
    options = benchmark.CommandLine(python={"jax": tmp_path / "absent"})
    with pytest.raises(InputError, match="absent"):
        benchmark._check(options)
