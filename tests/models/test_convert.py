"""Weights of the paper's code and of vit-pytorch, against forward passes of both in NumPy.

The forward passes read the state dicts by the names and shapes that both codes give them.
"""

import sys

import numpy as np
import pytest
from scipy.special import erf, softmax

from layer_harness import close
from small_vit.errors import InputError
from small_vit.models.convert import from_state_dict, read_state_dict
from small_vit.plots import plot_attention
from small_vit.results.saved_model import kind_of_outputs, load_model

pytestmark = pytest.mark.any_backend

HEIGHT, WIDTH, PATCH, CHANNELS = 8, 12, 4, 3
DIM, HEADS, KEY_DIM, HIDDEN, CLASSES, DEPTH = 16, 2, 6, 20, 5, 2
PATCHES = (HEIGHT // PATCH) * (WIDTH // PATCH)
FIXED = {"image_size": (HEIGHT, WIDTH), "num_heads": HEADS}
MEAN, STD = [0.5, 0.4, 0.3], [0.3, 0.25, 0.2]

PAPER_SHIFTS = [(-2, -2), (-2, 2), (2, -2), (2, 2)]
CARDINAL_SHIFTS = [(0, -1), (0, 1), (-1, 0), (1, 0)]
SHIFTS = {"paper": [], "paper-spt": PAPER_SHIFTS, "vit": [], "small": CARDINAL_SHIFTS}


def state_of(model, lsa=False, class_token=True):
    """A state dict with the names and shapes of a model, its values drawn at random."""
    rng = np.random.default_rng(0)
    state = {}

    def add(name, *shape, around=0.0):
        state[name] = np.asarray(around + 0.2 * rng.standard_normal(shape), "float32")

    def norm(name, width=DIM):
        add(f"{name}.weight", width, around=1.0)
        add(f"{name}.bias", width)

    def linear(name, inputs, outputs):
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs)

    features = PATCH**2 * CHANNELS * (1 + len(SHIFTS[model]))
    prefix = {"paper-spt": ".merging", "small": ".to_patch_tokens"}.get(model, "")
    if model == "paper":
        linear("to_patch_embedding.1", features, DIM)
    else:
        norm(f"to_patch_embedding{prefix}.1", features)
        linear(f"to_patch_embedding{prefix}.2", features, DIM)
    if model == "vit":
        norm("to_patch_embedding.3")
    add("pos_embedding", 1, PATCHES + class_token, DIM)
    add("cls_token", 1, int(class_token), DIM)
    older = model.startswith("paper")
    inner = ".fn" if older else ""
    for index in range(DEPTH):
        attention, mlp = (f"transformer.layers.{index}.{place}" for place in (0, 1))
        norm(f"{attention}.norm")
        add(f"{attention}{inner}.to_qkv.weight", 3 * HEADS * KEY_DIM, DIM)
        linear(f"{attention}{inner}.to_out.0", HEADS * KEY_DIM, DIM)
        if model == "small":
            add(f"{attention}.temperature", around=-0.5)
        elif lsa:
            add(f"{attention}.fn.scale", HEADS, around=0.5)
        norm(f"{mlp}.norm" if older else f"{mlp}.net.0")
        linear(f"{mlp}{inner}.net.{0 if older else 1}", DIM, HIDDEN)
        linear(f"{mlp}{inner}.net.{3 if older else 4}", HIDDEN, DIM)
    norm("transformer.norm" if model == "vit" else "mlp_head.0")
    linear("mlp_head" if model == "vit" else "mlp_head.1", DIM, CLASSES)
    return state


class Forward:
    """The logits of a state dict, in float64."""

    def __init__(self, state):
        self.state = {name: value.astype("float64") for name, value in state.items()}

    def __call__(self, model, images, pool):
        state = self.state
        x = ((images / 255 - MEAN) / STD).transpose(0, 3, 1, 2)  # (batch, channels, height, width)
        x = self.tokens(x, SHIFTS[model])
        cls = np.broadcast_to(state["cls_token"], (len(x), *state["cls_token"].shape[1:]))
        x = np.concatenate([cls, x], axis=1) + state["pos_embedding"]
        for index in range(DEPTH):
            x = x + self.attention(x, f"transformer.layers.{index}.0")
            x = x + self.mlp(x, f"transformer.layers.{index}.1")
        if model == "vit":
            x = self.norm(x, "transformer.norm")
        x = x.mean(axis=1) if pool == "mean" else x[:, 0]
        if model == "vit":
            return self.linear(x, "mlp_head")
        return self.linear(self.norm(x, "mlp_head.0"), "mlp_head.1")

    def tokens(self, x, shifts):
        pad = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
        copies = [pad[:, :, 2 + y :, 2 + x :][:, :, :HEIGHT, :WIDTH] for y, x in [(0, 0), *shifts]]
        stack = np.concatenate(copies, axis=1)
        rows, columns = HEIGHT // PATCH, WIDTH // PATCH
        patches = stack.reshape(len(x), -1, rows, PATCH, columns, PATCH)
        x = patches.transpose(0, 2, 4, 3, 5, 1).reshape(len(x), rows * columns, -1)
        layers = sorted(n.removesuffix(".weight") for n in self.state if "patch" in n and "w" in n)
        for name in layers:
            norm = self.state[f"{name}.weight"].ndim == 1
            x = self.norm(x, name) if norm else self.linear(x, name)
        return x

    def attention(self, x, name):
        x = self.norm(x, f"{name}.norm")
        name = f"{name}.fn" if f"{name}.fn.to_qkv.weight" in self.state else name
        parts = np.split(x @ self.state[f"{name}.to_qkv.weight"].T, 3, axis=-1)
        split = (part.reshape(len(x), -1, HEADS, KEY_DIM).swapaxes(1, 2) for part in parts)
        query, key, value = split  # (batch, heads, tokens, key_dim)
        scale, masked = KEY_DIM**-0.5, True
        if f"{name}.scale" in self.state:
            scale = self.state[f"{name}.scale"][:, None, None]
        elif f"{name}.temperature" in self.state:
            scale = np.exp(self.state[f"{name}.temperature"])
        else:
            masked = False
        scores = query @ key.swapaxes(-1, -2) * scale
        if masked:
            scores = np.where(np.eye(scores.shape[-1], dtype=bool), -np.inf, scores)
        attended = softmax(scores, axis=-1) @ value
        return self.linear(attended.swapaxes(1, 2).reshape(*x.shape[:2], -1), f"{name}.to_out.0")

    def mlp(self, x, name):
        if f"{name}.norm.weight" in self.state:
            norm, hidden, output = f"{name}.norm", f"{name}.fn.net.0", f"{name}.fn.net.3"
        else:
            norm, hidden, output = (f"{name}.net.{place}" for place in (0, 1, 4))
        x = self.linear(self.norm(x, norm), hidden)
        return self.linear(0.5 * x * (1 + erf(x / np.sqrt(2))), output)

    def norm(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]


def raw_images():
    shape = (3, HEIGHT, WIDTH, CHANNELS)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("model", "pool", "options"),
    [
        ("paper", "cls", {}),
        ("paper", "cls", {"lsa": True}),
        ("paper", "mean", {}),  # vit-pytorch's ViT until 2022
        ("paper-spt", "cls", {}),
        ("paper-spt", "cls", {"lsa": True}),
        ("vit", "cls", {}),
        ("vit", "mean", {}),
        ("vit", "mean", {"class_token": False}),
        ("small", "cls", {}),
        ("small", "mean", {}),
    ],
)
def test_logits_are_those_of_the_code_that_the_weights_are_from(model, pool, options):
    state = state_of(model, **options)
    classifier = from_state_dict(state, **FIXED, pool=pool, mean=MEAN, std=STD)

    logits = classifier.predict(raw_images(), verbose=0)

    close(logits, Forward(state)(model, raw_images(), pool))


def test_a_converted_model_is_saved_and_used_as_any_other(tmp_path):
    classifier = from_state_dict(state_of("vit"), **FIXED)
    classifier.save(tmp_path / "vit.keras")

    loaded, names = load_model(tmp_path / "vit.keras")

    assert names == [f"class {index}" for index in range(CLASSES)]
    assert kind_of_outputs(loaded) == "logits"
    images = raw_images()
    close(loaded.predict(images, verbose=0), classifier.predict(images, verbose=0))
    plot_attention(loaded, images[0].astype("uint8"))


def without(name):
    state = state_of("small")
    del state[name]
    return state


def misshapen():
    return state_of("small") | {"mlp_head.1.weight": np.zeros((CLASSES, DIM + 1), "float32")}


@pytest.mark.parametrize(
    ("state", "arguments", "message"),
    [
        ({}, {}, "lacks 'to_patch_embedding.1.weight'"),
        (without("transformer.layers.0.1.net.4.bias"), {}, "lacks 'transformer.layers.0.1.net.4"),
        (state_of("vit") | {"register": np.zeros(1)}, {}, "other weights, too: register"),
        (misshapen(), {}, r"logits/kernel must have the shape \(16, 5\). Received: \(17, 5\)"),
        (state_of("small"), {"num_heads": 5}, "num_heads must divide the 12 .* Received: 5"),
        (state_of("paper", lsa=True), {"num_heads": 3}, "temperature .* Received: "),
        (state_of("small"), {"num_heads": 0}, "Received: 0"),
        (state_of("small"), {"image_size": 8}, "6 square patches, each with 240 values.*: 8"),
        (state_of("small"), {"pool": "max"}, "pool must be 'cls' or 'mean'. Received: 'max'"),
        (state_of("vit", class_token=False), {}, "pool is 'mean'. Received: 'cls'"),
        (state_of("vit"), {"mean": [0.5, 0.5]}, "one for each of 3 channels"),
    ],
)
def test_what_does_not_fit_is_refused(state, arguments, message):
    with pytest.raises(InputError, match=message):
        from_state_dict(state, **(FIXED | arguments))


def test_a_state_dict_is_read_from_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    state = state_of("small")
    numpy.save_file(state, tmp_path / "vit.safetensors")

    read = read_state_dict(tmp_path / "vit.safetensors")

    assert read.keys() == state.keys()
    assert all((read[name] == state[name]).all() for name in state)


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / "vit.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"vit\.safetensors cannot be read as safetensors"):
        read_state_dict(tmp_path / "vit.safetensors")


def test_a_state_dict_is_read_from_torch(tmp_path):
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(value) for name, value in state_of("small").items()}
    torch.save(state, tmp_path / "vit.pt")
    torch.save({"model_state_dict": state, "epoch": 1}, tmp_path / "checkpoint.pth")

    for name in ("vit.pt", "checkpoint.pth"):
        read = read_state_dict(tmp_path / name)
        for weight, value in state.items():
            assert (read[weight] == value).all()


def test_code_in_a_torch_file_is_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(print, tmp_path / "vit.pt")
    with pytest.raises(InputError, match="could run code"):
        read_state_dict(tmp_path / "vit.pt")


@pytest.mark.parametrize(
    ("file", "package"), [("vit.pt", "torch"), ("vit.safetensors", "safetensors")]
)
def test_the_package_that_reads_a_file_is_named(file, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"{file} is read by {package}: pip install {package}"):
        read_state_dict(file)
