"""The patch encoder: what is added to which token."""

import json
import math

import numpy as np
import pytest

from layer_harness import close, normal, randomize, to_numpy, weights_of
from small_vit import PatchEncoder


def sincos(position, dim):
    """One position of "Attention is all you need", sines in front of cosines."""
    angles = [position / 10_000 ** (2 * index / dim) for index in range(dim // 2)]
    return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]


def run(tokens, num_patches=6, **kwargs):
    layer = PatchEncoder(num_patches=num_patches, projection_dim=tokens.shape[-1], **kwargs)
    layer(tokens)
    randomize(layer)
    return layer, to_numpy(layer(tokens))


def weight(layer, name):
    (value,) = [value for path, value in weights_of(layer).items() if path.endswith(name)]
    return value


def test_learned_positions_are_added():
    tokens = normal((2, 6, 8))

    layer, output = run(tokens)

    close(output, tokens + weight(layer, "position_embedding"), 1e-6)


def test_class_token_stands_in_front_with_a_position_of_its_own():
    tokens = normal((2, 6, 8))

    layer, output = run(tokens, class_token=True)

    positions = weight(layer, "position_embedding")
    close(output[:, 0], (weight(layer, "class_token")[0] + positions[0]).repeat(2, axis=0), 1e-6)
    close(output[:, 1:], tokens + positions[1:], 1e-6)


@pytest.mark.parametrize("num_patches", [6, (2, 3)])
def test_sincos1d_counts_the_tokens(num_patches):
    tokens = normal((2, 6, 8))

    _, output = run(tokens, num_patches, position_embedding="sincos1d")

    close(output, tokens + np.array([sincos(index, 8) for index in range(6)]))


def test_sincos2d_has_the_row_in_one_half_and_the_column_in_the_other():
    tokens = normal((2, 6, 8))

    _, output = run(tokens, (2, 3), position_embedding="sincos2d")

    positions = [sincos(row, 4) + sincos(column, 4) for row in range(2) for column in range(3)]
    close(output, tokens + np.array(positions))


def test_sincos2d_takes_a_square_number_for_a_square_grid():
    tokens = normal((2, 9, 8))

    _, of_count = run(tokens, 9, position_embedding="sincos2d")
    _, of_grid = run(tokens, (3, 3), position_embedding="sincos2d")

    close(of_count, of_grid, 0)


def test_class_token_has_no_sincos_position():
    tokens = normal((2, 6, 8))

    layer, output = run(tokens, position_embedding="sincos1d", class_token=True)

    close(output[:, 0], weight(layer, "class_token")[0].repeat(2, axis=0), 0)
    close(output[:, 1], tokens[:, 0] + np.array(sincos(0, 8)), 1e-6)


@pytest.mark.parametrize(
    ("num_patches", "plain"),
    [(np.int64(9), 9), ((np.int64(3), np.int64(3)), (3, 3)), (np.array([3, 3]), (3, 3))],
)
def test_number_of_patches_by_numpy(num_patches, plain):
    layer, _ = run(normal((1, 9, 8)), num_patches, position_embedding="sincos2d")

    config = json.loads(json.dumps(layer.get_config()["num_patches"]))
    assert config == (list(plain) if isinstance(plain, tuple) else plain)


def test_no_position_embedding_changes_nothing():
    tokens = normal((2, 6, 8))

    _, output = run(tokens, position_embedding="none")

    close(output, tokens, 0)


@pytest.mark.parametrize("position_embedding", ["none", "sincos1d", "sincos2d"])
def test_fixed_positions_have_no_weights(position_embedding):
    layer, _ = run(normal((1, 6, 8)), (2, 3), position_embedding=position_embedding)

    assert layer.weights == []


def test_learned_positions_and_class_token_are_drawn_apart():
    layer = PatchEncoder(1, 64, class_token=True)
    layer.build((None, 1, 64))

    positions, class_token = weight(layer, "position_embedding"), weight(layer, "class_token")

    assert not np.isin(class_token, positions).any()


def test_learned_positions_start_uniform_within_a_twentieth():
    layer = PatchEncoder(100, 64)
    layer.build((None, 100, 64))

    positions = weight(layer, "position_embedding")

    assert 0.049 < np.abs(positions).max() <= 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position_embedding": "rotary"}, "`position_embedding` is one of .*'rotary'"),
        ({"num_patches": 6.0}, r"`num_patches` must be a positive int.*num_patches=6\.0"),
        ({"num_patches": (2, 3, 4)}, r"`num_patches` must be .*=\(2, 3, 4\)"),
        ({"num_patches": 0}, "`num_patches` must be a positive int.*num_patches=0"),
        ({"position_embedding": "sincos2d"}, r"needs num_patches=\(rows, columns\).*6"),
        ({"position_embedding": "sincos1d", "projection_dim": 7}, "divisible by 2.*7"),
        (
            {"position_embedding": "sincos2d", "num_patches": (2, 3), "projection_dim": 6},
            "divisible by 2 .* 4 .*6",
        ),
    ],
)
def test_bad_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        PatchEncoder(**{"num_patches": 6, "projection_dim": 8, **arguments})


@pytest.mark.parametrize("shape", [(None, 5, 8), (None, 6, 7), (None, 2, 3, 8)])
def test_tokens_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"expects \(batch, 6, 8\)"):
        PatchEncoder((2, 3), 8).build(shape)
