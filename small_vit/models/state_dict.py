"""State dicts of the paper's code and of vit-pytorch: from a file to weights by path."""

import pickle
from pathlib import Path

import numpy as np

from small_vit.errors import InputError

_KNOWN = (
    "Known are the paper's ViT, with or without SPT and LSA, and vit-pytorch's ViT and "
    "vit_for_small_dataset.ViT."
)


def read_state_dict(path):
    """Read a state dict from a file, without running code from it.

    Args:
        path: A .safetensors file (needs safetensors installed), or what `torch.save` has written
            (needs PyTorch): a state dict, or a checkpoint of the paper's code.

    Returns:
        Dict of tensors by name.

    Raises:
        InputError: if the file cannot be read, holds anything but tensors, or the package that
            reads it is not installed.
    """
    read = _read_safetensors if Path(path).suffix == ".safetensors" else _read_torch
    try:
        state = read(path)
    except ModuleNotFoundError as error:
        raise InputError(f"{path} is read by {error.name}: pip install {error.name}.") from error
    if isinstance(state, dict):
        state = state.get("model_state_dict", state)  # a checkpoint of the paper's code
    if not isinstance(state, dict) or not all(hasattr(each, "shape") for each in state.values()):
        raise InputError(
            f"{path} must hold a state dict: torch.save(model.state_dict(), FILE). "
            f"Received: a {type(state).__name__} of other things."
        )
    return state


def _read_safetensors(path):
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}") from error


def _read_torch(path):
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is no file of tensors alone, and reading others could run code. Save the "
            "weights alone: torch.save(model.state_dict(), FILE)."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # of any kind, if the bytes are not a pickle
        raise InputError(
            f"{path} is damaged, or no file that torch.save has written: {error!r}"
        ) from error


def weights_by_path(state, tokenization, num_heads, pool):
    """Return the weights of a state dict by the paths that they have in a classifier here.

    Args:
        state: Arrays or CPU tensors by name.
        tokenization: The part of the names before the place of the tokenization's weights.
        num_heads: Attention heads.
        pool: "cls" or "mean".

    Returns:
        Dict of float32 arrays, of the shapes that they have here.

    Raises:
        InputError: if a weight is missing, is not known, or cannot be divided among the heads.
    """
    # The older of their layouts wraps attention and MLP in a module `fn`.
    state = {name.replace(".fn.", "."): np.asarray(state[name], "float32") for name in state}
    weights = _Weights(state)
    try:
        _add_tokens(weights, tokenization)
        blocks = {name.split(".")[2] for name in state if name.startswith("transformer.layers.")}
        for index in range(len(blocks)):
            block, theirs = f"block_{index}", f"transformer.layers.{index}"
            _add_attention(weights, f"{block}/attention", f"{theirs}.0", num_heads)
            _add_mlp(weights, f"{block}/mlp", f"{theirs}.1")
        _add_head(weights, pool)
    except KeyError as error:
        raise InputError(f"The state dict lacks {error}. {_KNOWN}") from error
    if state:
        raise InputError(f"The state dict has other weights, too: {', '.join(state)}. {_KNOWN}")
    return weights.values


class _Weights:
    """Moves weights out of `state`, by their PyTorch names, into `values`, by path."""

    def __init__(self, state):
        self.state = state
        self.values = {}

    def add_norm(self, path, name):
        self.values[f"{path}/gamma"] = self.state.pop(f"{name}.weight")
        self.values[f"{path}/beta"] = self.state.pop(f"{name}.bias")

    def add_dense(self, path, name):
        self.values[f"{path}/kernel"] = self.state.pop(f"{name}.weight").T
        self.values[f"{path}/bias"] = self.state.pop(f"{name}.bias")


def _add_tokens(weights, tokenization):
    state, values = weights.state, weights.values
    normed = f"{tokenization}.2.weight" in state
    if normed:
        weights.add_norm("tokenization/layer_norm", f"{tokenization}.1")
    weights.add_dense("tokenization/projection", f"{tokenization}.{2 if normed else 1}")
    if f"{tokenization}.3.weight" in state:  # vit-pytorch's ViT normalises its tokens, too
        weights.add_norm("token_norm", f"{tokenization}.3")
    positions, class_token = state.pop("pos_embedding"), state.pop("cls_token")
    values["encoder/position_embedding"] = positions.reshape(-1, positions.shape[-1])
    if class_token.size:  # vit-pytorch's ViT has an empty one with pool="mean"
        values["encoder/class_token"] = class_token.reshape(1, 1, -1)


def _add_attention(weights, path, name, num_heads):
    state, values = weights.state, weights.values
    weights.add_norm(f"{path}_norm", f"{name}.norm")
    joint = state.pop(f"{name}.to_qkv.weight")  # (3 * heads * key_dim, dim)
    if num_heads < 1 or len(joint) % (3 * num_heads):
        raise InputError(
            f"num_heads must divide the {len(joint) // 3} query outputs of {name}.to_qkv. "
            f"Received: {num_heads}."
        )
    for part, kernel in zip(("query", "key", "value"), np.split(joint, 3), strict=True):
        values[f"{path}/{part}/kernel"] = kernel.T.reshape(joint.shape[1], num_heads, -1)
    weights.add_dense(f"{path}/attention_output", f"{name}.to_out.0")
    kernel = values[f"{path}/attention_output/kernel"]  # (heads * key_dim, dim)
    values[f"{path}/attention_output/kernel"] = kernel.reshape(num_heads, -1, kernel.shape[1])
    if f"{name}.scale" in state:  # the paper's LSA: one for each head
        values[f"{path}/temperature"] = state.pop(f"{name}.scale")[:, np.newaxis]
    elif f"{name}.temperature" in state:  # vit-pytorch's LSA: the logarithm
        values[f"{path}/temperature"] = np.exp(state.pop(f"{name}.temperature"))


def _add_mlp(weights, path, name):
    older = f"{name}.norm.weight" in weights.state
    norm, hidden, output = ("norm", "net.0", "net.3") if older else ("net.0", "net.1", "net.4")
    weights.add_norm(f"{path}_norm", f"{name}.{norm}")
    weights.add_dense(f"{path}_hidden", f"{name}.{hidden}")
    weights.add_dense(f"{path}_output", f"{name}.{output}")


def _add_head(weights, pool):
    if "mlp_head.weight" in weights.state:
        weights.add_norm("norm", "transformer.norm")
        weights.add_dense("logits", "mlp_head")
    else:  # the norm follows the pooling, which makes a difference to a mean only
        weights.add_norm("pooled_norm" if pool == "mean" else "norm", "mlp_head.0")
        weights.add_dense("logits", "mlp_head.1")
