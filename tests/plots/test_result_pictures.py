"""The pictures of results: the pixels, numbers and names in them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.calibration import calibration_curve

from small_vit.plots import (
    plot_captioned,
    plot_class_scores,
    plot_confusion,
    plot_reliability,
    plot_samples,
    save,
)
from small_vit.plots.examples import samples_per_class
from small_vit.plots.labels import fitted, text_width
from small_vit.results.calibration import reliability

pytestmark = pytest.mark.any_backend

LONG = "a name that goes on and on and on, _with_ $two$ dollars, and never ends"


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def pixels(figure):
    """The figure as it is saved, floats in 0..1."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def boxes(figure, texts):
    FigureCanvasAgg(figure).draw()
    return [text.get_window_extent() for text in texts if text.get_text()]


def assert_apart(figure, texts):
    """Check that texts are in the figure and none covers another."""
    found = boxes(figure, texts)
    for number, box in enumerate(found):
        assert box.x0 >= -1 and box.y0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        assert not any(box.overlaps(other) for other in found[:number])


# -------------------------------------------------------------------------------------- names


def test_a_name_that_is_too_wide_loses_its_middle():
    shown = fitted("0123456789" * 10, 100, 8)
    start, end = shown.split("…")
    assert start == ("0123456789" * 10)[: len(start)] and end == ("0123456789" * 10)[-len(end) :]
    assert 85 < text_width(shown, 8) <= 100
    assert fitted("short", 100, 8) == "short"
    assert fitted("x", 0, 8) == "x"


def test_dollars_make_no_formula():
    figure = plot_confusion(np.eye(2, dtype=int), ("$\\frac{$", "$a$ b$"))
    pixels(figure)  # Matplotlib raises for a formula that is none
    assert fitted("$a$", 100, 8) == r"\$a\$"


# ------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_of_a_captioned_image_is_a_square(channels):
    images = random_images(7, 16, 24, channels)
    drawn = pixels(plot_captioned(images, [["one", "two"]] * 7, columns=5))
    times = 128 // 24
    expected = np.broadcast_to(images / 255, (7, 16, 24, 3)).repeat(times, 1).repeat(times, 2)
    height, width = expected.shape[1:3]
    across = drawn.shape[1] // 5
    down = drawn.shape[0] // 2
    for place, image in enumerate(expected):
        row, column = divmod(place, 5)
        left = column * across + 6 + (176 - width) // 2
        top = row * down + 6
        found = drawn[top : top + height, left : left + width]
        np.testing.assert_allclose(found, image, atol=1 / 255)


def test_a_grid_of_large_photos_is_a_small_file(tmp_path):
    figure = plot_captioned(random_images(20, 96, 128, 3), [["one", "two", "three"]] * 20)
    assert save(figure, tmp_path / "mistakes.png").stat().st_size < 300_000


def test_captions_stay_apart_however_long():
    figure = plot_captioned(random_images(7, 8, 8, 1), [[LONG, LONG, "x" * 99]] * 7)
    assert len(figure.axes[0].texts) == 21
    assert_apart(figure, figure.axes[0].texts)


def test_samples_are_a_row_for_each_class():
    images = [random_images(3, 8, 8, 1), random_images(2, 8, 8, 1)]
    figure = plot_samples(images, ["a", LONG])
    drawn = pixels(figure)
    first = drawn.shape[1] - 3 * 102
    assert drawn.shape[0] == 2 * 102 and 150 < first < 200
    expected = images[1][1].repeat(12, 0).repeat(12, 1) / 255
    second = drawn[102:198, first + 102 : first + 198]
    np.testing.assert_allclose(second, np.broadcast_to(expected, (96, 96, 3)), atol=1 / 255)
    assert_apart(figure, figure.axes[0].texts)


@pytest.mark.parametrize(
    ("shape", "classes", "count"),
    [((8, 8, 1), 10, 8), ((32, 32, 3), 20, 3), ((64, 64, 3), 10, 3), ((512, 512, 3), 20, 2)],
)
def test_the_number_of_samples_keeps_the_file_small(shape, classes, count, tmp_path):
    assert samples_per_class(shape, classes) == count
    images = [random_images(count, *shape)] * classes
    path = save(plot_samples(images, ["name"] * classes), tmp_path / "samples.png")
    assert path.stat().st_size < 310_000  # of noise; photos take less


# ------------------------------------------------------------------------------------ results


def test_a_confusion_matrix_has_its_counts_and_its_parts_of_a_row():
    counts = np.array([[8, 2, 0], [0, 0, 0], [1, 1, 2]])
    figure = plot_confusion(counts, ("a", "b", LONG))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [str(count) for count in counts.ravel()]
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[0.8, 0.2, 0], [0, 0, 0], [0.25, 0.25, 0.5]]
    )
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    assert_apart(figure, [*axes.texts, *labels])


def test_more_than_twelve_classes_have_colours_alone():
    figure = plot_confusion(np.eye(20, dtype=int), [f"{number} {LONG}" for number in range(20)])
    assert not figure.axes[0].texts
    assert_apart(figure, [*figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels()])


def scores(count):
    draw = np.random.default_rng(0).random
    names = ("recall", "precision", "f1")
    return [{"name": f"class {n}"} | {name: draw() for name in names} for n in range(count)]


@pytest.mark.parametrize("count", [2, 40])
def test_bars_are_sorted_by_f1(count):
    given = scores(count)
    axes = plot_class_scores(given).axes[0]
    ordered = sorted(given, key=lambda each: each["f1"])
    for container, name in zip(axes.containers, ("recall", "precision", "f1"), strict=True):
        widths = [bar.get_width() for bar in container]
        np.testing.assert_allclose(widths, [each[name] for each in ordered])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [each["name"] for each in ordered]


def test_of_many_classes_the_worst_and_the_best_are_drawn():
    given = scores(41)
    figure = plot_class_scores([each | {"name": f"{each['name']} {LONG}"} for each in given])
    ordered = sorted(given, key=lambda each: each["f1"])
    widths = [bar.get_width() for bar in figure.axes[0].containers[2]]
    np.testing.assert_allclose(widths, [each["f1"] for each in ordered[:15] + ordered[-15:]])
    assert_apart(figure, figure.axes[0].get_yticklabels())


def test_reliability_is_scikit_learns_calibration_curve():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 500)
    logits = np.stack([np.zeros(500), (2 * labels - 1) + generator.normal(size=500)], axis=1)
    high = 1 / (1 + np.exp(-np.abs(logits[:, 1])))
    correct = (logits.argmax(1) == labels).astype(int)
    expected_accuracy, expected_confidence = calibration_curve(correct, high, n_bins=15)

    figure = plot_reliability(
        {"one": reliability(logits, labels), "two": reliability(logits, labels)}
    )
    above, below = figure.axes
    lines = {line.get_label(): line for line in above.lines}
    np.testing.assert_allclose(lines["one"].get_xdata(), expected_confidence)
    np.testing.assert_allclose(lines["two"].get_ydata(), expected_accuracy)
    for container in below.containers:
        assert sum(bar.get_height() for bar in container) == pytest.approx(1)
