"""The pictures: the pixels, numbers and labels in them, and the scripts that draw them."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from layer_harness import to_numpy
from small_vit import ExperimentConfig, PaddedRandomCrop
from small_vit.data.image_files import read_image
from small_vit.errors import InputError
from small_vit.models.registry import named_model
from small_vit.plots import (
    attention_rollout,
    attention_scores,
    plot_attention,
    plot_augmentations,
    plot_curves,
    plot_patches,
    plot_shifted_views,
    plot_temperature_history,
    plot_temperatures,
    save,
)
from small_vit.plots.attention import attention_received, temperatures
from small_vit.plots.colors import line_colors
from small_vit.plots.curves import mean_and_range
from small_vit.plots.patches import assemble, shifted_patches
from small_vit.plots.sources import read_histories
from small_vit.recipes import digits, keras_example
from small_vit.results.run_directory import RunDirectory
from tiny import TINY, tiny_classifier

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parents[2]
DIGITS = [str(digit) for digit in range(10)]
SMALL = TINY | {"patch_size": 2, "num_layers": 2, "pooling": "flatten"}

# Where each copy's content moves, (down, right) in shift lengths.
MOVES = {
    "original": (0, 0),
    "left-up": (-1, -1),
    "left-down": (1, -1),
    "right-up": (-1, 1),
    "right-down": (1, 1),
    "up": (-1, 0),
    "down": (1, 0),
    "left": (0, -1),
    "right": (0, 1),
}


def small_model(**fields):
    return tiny_classifier(**(SMALL | fields))


def random_image(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def moved(image, down, right):
    """Move the content, zeros behind it, one pixel at a time."""
    result = np.zeros_like(image)
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[y, x] = image[y - down, x - right]
    return result


def drawn(axes):
    """The array behind the first picture in a panel."""
    return np.asarray(axes.images[0].get_array())


# ------------------------------------------------------------------------------------ patches


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shifts", ["none", "diagonal", "cardinal", "all"])
def test_shifted_views_are_the_image_moved_in_the_direction_of_their_title(shifts, channels):
    image = random_image(12, 24, channels)
    figure = plot_shifted_views(image, patch_size=(4, 6), shifts=shifts)
    views = figure.axes[: len(figure.axes) // 2]
    assert len(views) == {"none": 1, "diagonal": 5, "cardinal": 5, "all": 9}[shifts]
    for axes in views:
        down, right = MOVES[axes.get_title()]
        expected = moved(image, 2 * down, 3 * right) / 255
        np.testing.assert_allclose(
            drawn(axes), np.broadcast_to(expected, (12, 24, 3)), atol=1e-6, err_msg=axes.get_title()
        )


def test_diagonal_views_come_in_the_keras_examples_order():
    copies = shifted_patches(random_image(8, 8, 3), 4)
    assert list(copies) == ["original", "left-up", "left-down", "right-up", "right-down"]


def test_each_view_stands_above_its_own_patches():
    figure = plot_shifted_views(random_image(12, 12, 3), patch_size=6, shift_ratio=0.25)
    above, below = figure.axes[:5], figure.axes[5:]
    for view, grid in zip(above, below, strict=True):
        without_gaps = np.delete(np.delete(drawn(grid), 6, axis=0), 6, axis=1)
        np.testing.assert_array_equal(without_gaps, drawn(view))


def test_patch_grid_keeps_every_pixel_between_white_gaps():
    image = random_image(12, 18, 3)
    figure = plot_patches(image, patch_size=6)
    np.testing.assert_allclose(drawn(figure.axes[0]), image / 255, atol=1e-6)
    grid = drawn(figure.axes[1])
    assert grid.shape == (13, 20, 3)
    assert (grid[6] == 1).all() and (grid[:, [6, 13]] == 1).all()
    without_gaps = np.delete(np.delete(grid, 6, axis=0), [6, 13], axis=1)
    np.testing.assert_allclose(without_gaps, image / 255, atol=1e-6)
    assert figure.axes[1].get_title() == "2 × 3 patches of 6 × 6"


def test_gaps_between_small_grey_patches_are_thin_and_coloured():
    image = random_image(4, 4, 1)
    grid = drawn(plot_patches(image, patch_size=2).axes[1])
    assert grid.shape == (13, 13, 3)
    np.testing.assert_allclose(grid[1:6:3, 1:6:3, 0], image[:2, :2, 0] / 255, atol=1e-6)
    assert len(set(grid[6, 0])) > 1


def test_overlapping_patches_are_drawn_whole_and_assembled_to_the_image():
    image = random_image(8, 8, 3)
    patches = shifted_patches(image, patch_size=4, stride=2, shifts="none")["original"]
    assert patches.shape == (3, 3, 4, 4, 3)
    np.testing.assert_allclose(assemble(patches, (2, 2)), image / 255, atol=1e-6)
    grid = drawn(plot_patches(image, patch_size=4, stride=2).axes[1])
    assert grid.shape == (3 * 8 + 2, 3 * 8 + 2, 3)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), "uint8"), np.zeros((8, 8, 4), "uint8"), np.full((8, 8, 3), 128.0)]
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(InputError, match="An image to draw"):
        plot_patches(image, 4)


# ------------------------------------------------------------------------------ augmentations


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations_have_a_row_each_that_begins_with_the_image(channels):
    image, partner = random_image(2, 16, 24, channels)
    axes = plot_augmentations(image, partner, draws=3, seed=1).axes[0]

    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert len(rows) == 5 and len(axes.get_xticks()) == 4
    canvas = drawn(axes)
    assert canvas.shape == (4 * 17 + 16, 3 * 26 + 24, 3)
    unit = np.broadcast_to(image / 255, (16, 24, 3))
    for row in range(5):
        np.testing.assert_allclose(canvas[17 * row :][:16, :24], unit, atol=1e-6)

    cropped = PaddedRandomCrop(seed=1)(np.repeat(image[np.newaxis], 3, axis=0), training=True)
    second = canvas[17 * rows.index("crop of the\npadded image") :][:16, 26:50]
    np.testing.assert_allclose(second[..., :1], to_numpy(cropped)[0, ..., :1] / 255, atol=1e-6)


def test_augmentations_write_the_share_of_the_label_under_what_is_mixed():
    black, white = np.zeros((16, 24, 3), "uint8"), np.full((16, 24, 3), 255, "uint8")
    axes = plot_augmentations(black, white, draws=3).axes[0]

    for column, label in enumerate(axes.get_xticklabels()[1:], start=1):
        mixed = drawn(axes)[17 * 4 :, 26 * column :][:, :24]
        assert label.get_text() == f"{1 - mixed.mean():.0%}"


def test_augmentations_refuse_images_that_differ_in_shape():
    with pytest.raises(InputError, match="uint8 and of one shape"):
        plot_augmentations(random_image(8, 8, 3), random_image(8, 8, 1))


# ---------------------------------------------------------------------------------- attention


def test_rollout_is_the_product_of_the_mean_heads_with_shortcuts():
    generator = np.random.default_rng(0)
    scores = [generator.dirichlet(np.ones(5), (2, 3, 5)) for _ in range(4)]
    expected = []
    for example in range(2):
        total = np.eye(5)
        for block in scores:
            mean = sum(block[example, head] for head in range(3)) / 3
            total = np.dot(0.5 * mean + 0.5 * np.eye(5), total)
        expected.append(total)
    rollout = attention_rollout(scores)
    np.testing.assert_allclose(rollout, expected)
    np.testing.assert_allclose(rollout.sum(axis=-1), 1)


@pytest.mark.parametrize("masked", [True, False])
def test_attention_scores_are_probabilities_and_the_mask_empties_their_diagonal(masked):
    scores = attention_scores(small_model(diagonal_mask=masked), random_image(3, 8, 8, 1))
    assert [block.shape for block in scores] == [(3, 2, 16, 16)] * 2
    for block in scores:
        np.testing.assert_allclose(block.sum(axis=-1), 1, rtol=1e-5)
        diagonal = np.diagonal(block, axis1=-2, axis2=-1)
        assert (diagonal == 0).all() if masked else (diagonal > 0).all()


def test_attention_scores_are_those_of_the_models_own_blocks():
    model, images = small_model(), random_image(2, 8, 8, 1)
    tokens = keras.Model(model.input, model.get_layer("block_0").output)(images)
    expected = keras.ops.convert_to_numpy(model.get_layer("block_1").attention_scores(tokens))
    np.testing.assert_allclose(attention_scores(model, images)[1], expected, atol=1e-6)


def test_attention_received_is_the_class_tokens_or_the_mean_of_all():
    scores = np.array([[0.2, 0.5, 0.3], [0.0, 0.6, 0.4], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(attention_received(scores, class_token=True), [1.5, 0.9])
    np.testing.assert_allclose(attention_received(scores, class_token=False), [0.3, 1.2, 1.5])


@pytest.mark.parametrize(
    ("fields", "grid", "payer"),
    [
        ({"pooling": "flatten"}, (4, 4), "all tokens"),
        ({"pooling": "mean", "patch_size": 4, "stride": 2}, (3, 3), "all tokens"),
        ({"pooling": "class_token", "image_size": (8, 12)}, (4, 6), "the class token"),
    ],
)
def test_attention_picture_has_a_map_for_each_head_and_block_and_the_rollout(fields, grid, payer):
    model, image = small_model(num_layers=3, **fields), random_image(8, 8, 1)
    figure = plot_attention(model, image, [f"name{label}" for label in range(10)])
    image_axes, rollout_axes, maps_axes = figure.axes
    assert image_axes.get_title().startswith("predicted: name")
    assert maps_axes.get_title() == f"attention from {payer}"
    assert len(maps_axes.get_xticks()) == 3 and len(maps_axes.get_yticks()) == 2

    class_token = payer == "the class token"
    scores = attention_scores(model, image[np.newaxis])
    rollout = attention_received(attention_rollout(scores)[0], class_token)
    overlay = np.asarray(rollout_axes.images[1].get_array())
    np.testing.assert_allclose(overlay, rollout.reshape(grid), rtol=1e-5)
    rows, columns = grid
    second_head_third_block = attention_received(scores[2][0, 1], class_token).reshape(grid)
    corner = drawn(maps_axes)[rows + 1 :, 2 * (columns + 1) :]
    np.testing.assert_allclose(corner, second_head_third_block, rtol=1e-5)


def test_rollout_lies_over_the_pixels_its_patches_are_centred_on():
    model = small_model(patch_size=4, stride=2)
    overlay = plot_attention(model, random_image(8, 8, 1)).axes[1].images[1]
    assert overlay.get_extent() == [1, 7, 7, 1]


def test_attention_refuses_other_images_and_models_without_blocks():
    with pytest.raises(InputError, match=r"takes uint8 images of shape \(8, 8, 1\)"):
        plot_attention(small_model(), random_image(8, 8, 3))
    with pytest.raises(InputError, match="no transformer block"):
        plot_attention(small_model(num_layers=0), random_image(8, 8, 1))


def test_temperatures_of_both_forms_are_divisors():
    divisor = small_model(temperature="layer", temperature_form="divisor")
    multiplier = small_model(temperature="head", temperature_form="multiplier")
    np.testing.assert_allclose(temperatures(divisor), [[2], [2]])
    np.testing.assert_allclose(temperatures(multiplier), [[2, 2], [2, 2]])
    multiplier.get_layer("block_1").attention.tau.assign([[0.25], [1.0]])
    np.testing.assert_allclose(temperatures(multiplier), [[2, 2], [4, 1]])

    axes = plot_temperatures({"one": divisor, "two": multiplier}).axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"one": [2, 2], "two": [2, 2.5], "fixed, √4 = 2": [2, 2]}
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[1, 2], [1, 2], [2, 4], [2, 1]])


def test_temperatures_of_a_model_without_any_are_refused():
    with pytest.raises(InputError, match="learns no temperature"):
        plot_temperatures(small_model(temperature="none"))


def test_temperatures_over_training_are_a_line_a_block():
    history = [
        {"epoch": 1, "loss": 3, "temperature_1": 8.0, "temperature_2": 7.9},
        {"epoch": 2, "loss": 2, "temperature_1": 7.5, "temperature_2": 8.1},
    ]
    axes = plot_temperature_history(history).axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"1": [8.0, 7.5], "2": [7.9, 8.1]}
    for nothing in ([], [{"epoch": 1, "loss": 3}]):
        with pytest.raises(InputError, match="holds no temperatures"):
            plot_temperature_history(nothing)


# ------------------------------------------------------------------------------------- curves


def history(*losses):
    return [
        {"epoch": epoch, "loss": loss, "val_loss": loss, "accuracy": 0.5, "val_accuracy": 0.5}
        for epoch, loss in enumerate(losses, start=1)
    ]


def test_mean_and_range_are_over_the_seeds_that_reached_the_epoch():
    epochs, values = mean_and_range([history(4.0, 3.0, 2.0), history(2.0)], "loss")
    np.testing.assert_array_equal(epochs, [1, 2, 3])
    np.testing.assert_array_equal(values, [[3, 3, 2], [2, 3, 2], [4, 3, 2]])


def test_curves_have_a_colour_an_arm_and_training_dashed():
    figure = plot_curves({"vanilla": [history(4, 3, 2), history(2)], "spt": [history(1), []]})
    loss, accuracy = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["Loss", "Accuracy"]
    training, validation = loss.lines[:2]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
    assert training.get_color() == validation.get_color() != loss.lines[-1].get_color()
    np.testing.assert_array_equal(validation.get_ydata(), [3, 3, 2])
    assert all(tick == int(tick) for tick in accuracy.get_xticks())
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "vanilla (2 seeds)" in labels and "lowest to highest seed (line: mean)" in labels


def test_a_published_log_is_drawn_thin_in_its_arms_colour():
    figure = plot_curves({"vanilla": [history(4, 3)]}, {"vanilla": history(5, 4, 3), "spt": []})
    training, _, *published = figure.axes[0].lines
    assert len(published) == 2
    assert {line.get_color() for line in published} == {training.get_color()}
    assert [line.get_linestyle() for line in published] == ["--", "-"]
    np.testing.assert_array_equal(published[0].get_xdata(), [1, 2, 3])
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "thin: published" in labels


def test_curves_of_no_epoch_are_refused():
    with pytest.raises(InputError, match="no run has finished an epoch"):
        plot_curves({"vanilla": [[]]})


@pytest.mark.parametrize("count", [1, 7, 20])
def test_every_line_has_a_colour_of_its_own(count):
    assert len({tuple(np.atleast_1d(color)) for color in line_colors(count)}) == count


# ---------------------------------------------------------------------------- files and runs


def test_save_makes_folders_and_leaves_nothing_else(tmp_path):
    path = save(Figure(figsize=(1, 1)), tmp_path / "new" / "picture.png")
    assert Image.open(path).format == "PNG"
    assert os.listdir(tmp_path / "new") == ["picture.png"]


def test_save_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(InputError, match="ends in one of"):
        save(Figure(), tmp_path / "picture.txt")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Could not make the folder"):
        save(Figure(), tmp_path / "file" / "picture.png")


def test_read_image_cuts_the_middle_out_and_scales_it(tmp_path):
    wide = np.zeros((10, 30, 3), "uint8")
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", (10, 10)) == 200).all()
    assert read_image(tmp_path / "wide.png", (4, 8), channels=1).shape == (4, 8, 1)


def test_read_image_names_what_it_cannot_read(tmp_path):
    Image.fromarray(random_image(64, 64, 3)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    for name, content in {"text": b"no image", "cut": whole[:500], "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name, (8, 8))
    with pytest.raises(InputError, match="No such file"):
        read_image(tmp_path / "absent", (8, 8))


def make_run(path, seed=0, arm="spt+lsa", **model):
    config = ExperimentConfig(arm=arm).replace(
        model=SMALL | model, data={"dataset": "digits"}, train={"seed": seed}
    )
    run = RunDirectory(path)
    run.create(config, environment={}, class_names=DIGITS)
    return run


def test_histories_of_runs_that_differ_in_their_seed_alone_stand_together(tmp_path):
    make_run(tmp_path / "a0", seed=0).write_history(history(3, 2))
    make_run(tmp_path / "a1", seed=1).write_history(history(4))
    make_run(tmp_path / "b", shift_ratio=1.0).write_history(history(5))
    off = {"shifts": "none", "patch_norm": False, "temperature": "none", "diagonal_mask": False}
    make_run(tmp_path / "c", arm="vanilla", **off)
    assert read_histories([tmp_path]) == {
        "vanilla": [[]],
        "spt+lsa": [history(3, 2), history(4)],
        "spt+lsa (model.shift_ratio: 0.5 -> 1.0)": [history(5)],
    }
    assert read_histories([tmp_path / "a1"]) == {"spt+lsa": [history(4)]}


# -------------------------------------------------------------------------------- the scripts


def run_script(monkeypatch, capsys, name, *arguments):
    """Run figures/NAME.py in this process; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    try:
        runpy.run_path(str(ROOT / "figures" / f"{name}.py"), run_name="__main__")
        code = 0
    except SystemExit as exit:
        code = exit.code
    return code, *capsys.readouterr()


@pytest.fixture
def finished_run(tmp_path):
    run = make_run(tmp_path / "run")
    run.write_history([row | {"temperature_1": 2.0} for row in history(3, 2)])
    run.save_model(small_model(), {"class_names": DIGITS})
    return run.path


def test_patches_are_drawn_of_models_that_have_them(tmp_path, monkeypatch, capsys):
    config = digits().replace(model=named_model("cct-2/3x2"))
    RunDirectory(tmp_path / "run").create(config, {}, DIGITS)
    code, _, error = run_script(monkeypatch, capsys, "patches", tmp_path / "run")
    assert code == 2 and "Received: a run of cct." in error


def test_scripts_draw_a_run(finished_run, tmp_path, monkeypatch, capsys):
    written = {
        ("patches", finished_run): ["run/patches.png", "run/shifted_views.png"],
        ("augmentations", finished_run): ["run/augmentations.png"],
        ("curves", finished_run, "--out", tmp_path / "c.png"): ["c.png"],
        ("attention", finished_run, "--out", tmp_path): [
            "attention.png",
            "temperatures.png",
            "temperature_history.png",
        ],
    }
    for arguments, names in written.items():
        code, out, _ = run_script(monkeypatch, capsys, *arguments)
        assert code == 0
        assert out.split() == [str(tmp_path / name) for name in names]
        for name in names:
            assert Image.open(tmp_path / name).format == "PNG"
            assert (tmp_path / name).stat().st_size < 300_000


def test_the_published_log_is_drawn_over_a_run_that_still_goes(tmp_path, monkeypatch, capsys):
    run = RunDirectory(tmp_path / "run")
    environment = dict.fromkeys(("command", "commit", "device", "versions", "backend"), "x")
    run.create(keras_example(), environment, ["a"])
    run.write_history(history(4, 3))
    code, out, _ = run_script(
        monkeypatch, capsys, "curves", run.path, "--published", "--out", tmp_path / "c.png"
    )
    assert (code, out.split()) == (0, [str(tmp_path / "c.png")])


def test_scripts_draw_an_image(finished_run, tmp_path, monkeypatch, capsys):
    Image.fromarray(random_image(40, 60, 3)).save(tmp_path / "photo.jpg")
    size = ("--image-size", 24, 36, "--patch-size", 6, "--shifts", "none")
    code, out, _ = run_script(
        monkeypatch, capsys, "patches", tmp_path / "photo.jpg", *size, "--out", tmp_path
    )
    assert (code, out.split()) == (0, [str(tmp_path / "patches.png")])
    code, out, _ = run_script(
        monkeypatch, capsys, "augmentations", tmp_path / "photo.jpg", *size[:3], "--out", tmp_path
    )
    assert (code, out.split()) == (0, [str(tmp_path / "augmentations.png")])
    code, out, _ = run_script(
        monkeypatch, capsys, "attention", finished_run, "--image", tmp_path / "photo.jpg"
    )
    assert (code, out.split()[0]) == (0, str(finished_run / "attention-photo.png"))
    assert not (finished_run / "attention.png").exists()


def test_scripts_answer_bad_input_with_one_message_and_exit_code_2(tmp_path, monkeypatch, capsys):
    unfinished = make_run(tmp_path / "unfinished").path
    bad = [
        ("patches", tmp_path / "absent.png"),
        ("patches", tmp_path),
        ("patches", "--patch-size", 100),
        ("augmentations", tmp_path / "absent.png"),
        ("curves",),
        ("curves", tmp_path / "absent"),
        ("curves", unfinished),
        ("curves", unfinished, "--published"),
        ("attention", tmp_path),
        ("attention", unfinished),
    ]
    for arguments in bad:
        code, out, err = run_script(monkeypatch, capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert err.startswith("error: ") and err.count("\n") == 1


def test_a_script_runs_from_a_shell(tmp_path):
    call = [sys.executable, "figures/attention.py", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "holds no run" in ended.stderr and "Traceback" not in ended.stderr
