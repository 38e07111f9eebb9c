"""Writes what few-shot evaluation has measured: a page with table and curve, and the figures."""

from dataclasses import asdict
from math import log2

from small_vit.files import make_folder, write_csv, write_json, write_text
from small_vit.plots import plot_few_shot
from small_vit.report.markdown import escape, join, picture, table
from small_vit.results.few_shot import PENALTIES
from small_vit.results.statistics import Estimate


def write_few_shot(out, about, results):
    """Write few_shot.md, few_shot.png, few_shot.csv (all draws) and few_shot.json.

    Args:
        out: `Path` of the folder, made if absent.
        about: Dict about the images and draws: `dataset`, `classes`, `training_images`,
            `validation_images`, `test_images`, `seed`.
        results: List of `RunFewShot`. The others are compared with the first.

    Returns:
        The table with its captions, Markdown.
    """
    make_folder(out)
    columns = ["run", "shots", "draw", "l2", "validation_accuracy", "test_accuracy"]
    draws = [
        [result.run, shots, number, measured.l2, *accuracies]
        for result in results
        for shots, measured in result.shots.items()
        for number, accuracies in enumerate(
            zip(measured.validation, measured.accuracy, strict=True)
        )
    ]
    write_csv(out / "few_shot.csv", columns, draws)
    runs = [_summary(result, results[0]) for result in results]
    write_json(out / "few_shot.json", about | {"penalties": PENALTIES, "runs": runs})
    notes = [escape(result.note) for result in results if result.note]
    text = join(_table(results), *_captions(about, results), *notes)
    title = f"Few shots of {about['dataset']}"
    curves = {
        result.name: {shots: Estimate.of(each.accuracy) for shots, each in result.shots.items()}
        for result in results
    }
    figure = plot_few_shot(curves, about["classes"], title)
    shown = picture(out, "few_shot.png", figure, "Accuracy over the number of shots")
    write_text(out / "few_shot.md", join(f"# {escape(title)}", text, shown) + "\n")
    return text


def _table(results):
    first, *others = results
    compared = [f"difference to {escape(first.name)}"] if others else []
    rows = []
    for result in results:
        for shots, measured in result.shots.items():
            cells = [escape(result.name), str(shots), Estimate.of(measured.accuracy).percent()]
            if others:
                difference = _difference(measured, first.shots[shots]).percent(sign=True)
                cells.append("" if result is first else difference)
            rows.append([*cells, f"2^{log2(measured.l2):g}"])
    return table(["run", "shots", "top-1 %", *compared, "l2"], rows)


def _captions(about, results):
    draws = len(next(iter(results[0].shots.values())).accuracy)
    spread = "one draw of the shots"
    if draws > 1:
        spread = f"mean ± 95 % interval over {draws} draws of the shots"
    yield (
        f"Top-1 accuracy on {about['test_images']:,} test images of {about['classes']} classes "
        f"({1 / about['classes']:.1%} by chance), {spread}. l2 is chosen on "
        f"{about['validation_images']:,} validation images."
    )
    if len(results) > 1:
        yield f"The difference to {escape(results[0].name)} is paired: the shots are the same."


def _summary(result, first):
    """The figures of a run, ready for JSON."""
    of_shots = []
    for shots, measured in result.shots.items():
        figures = {"shots": shots, "l2": measured.l2}
        figures["validation"] = asdict(Estimate.of(measured.validation))
        figures["accuracy"] = asdict(Estimate.of(measured.accuracy))
        if result is not first:
            figures["difference"] = asdict(_difference(measured, first.shots[shots]))
        of_shots.append(figures)
    return asdict(result) | {"shots": of_shots}


def _difference(measured, other):
    pairs = zip(measured.accuracy, other.accuracy, strict=True)
    return Estimate.of([accuracy - others for accuracy, others in pairs])
