"""Exports the model of a finished run to other formats."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import keras

from small_vit.deploy.check import check_export
from small_vit.deploy.formats import check_format, write_format
from small_vit.deploy.predict_script import predict_script
from small_vit.deploy.serving import serving_model
from small_vit.errors import InputError
from small_vit.files import make_folder, write_json, write_text
from small_vit.quiet import only_errors
from small_vit.report.rewrite import evaluate_run
from small_vit.results.saved_model import about_model, load_model


def export_run(
    run, format="onnx", int8=False, any_size=False, check=False, out=None, data_dir=None
):
    """Export the model of a finished run.

    Writes a folder: the model, which takes raw uint8 images and returns probabilities;
    classes.json, the class names; predict.py, which runs it without Keras; export.json, which says
    what it is and what the check has measured.

    Args:
        run: Run directory.
        format: One of `FORMATS`.
        int8: Whether to quantize it. It is then always checked.
        any_size: Whether it takes images of any height and width and scales them to its own.
        check: Whether to compare it, in a fresh process, with the run's model on the test images.
        out: The folder; an earlier export there is replaced. Default: RUN/exports/NAME.
        data_dir: Folder of the run's data. Default: where the run read it.

    Returns:
        `(folder, about)`: its path, and the dict in its export.json; with `about["check"]`, from
        `check_export`, if it was checked.

    Raises:
        InputError: if there is no finished run, the format cannot be written here, the folder holds
            something else, or the exported model cannot be run.
    """
    check = check or int8
    check_format(format, keras.backend.backend(), int8, any_size, run_it=check)
    folder = Path(out) if out is not None else _default_folder(run, format, int8, any_size)
    _refuse_other_files(folder)
    evaluated = evaluate_run(run, data_dir) if check else None
    model, class_names = load_model(run)
    about_run = about_model(run) | {"class_names": list(class_names)}
    fit = about_run.get("fit", "crop")
    image_shape = model.input_shape[1:]
    with _written_whole(folder) as partial:
        with only_errors():
            write_format(format, serving_model(model, any_size), partial, about_run, int8)
        size = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
        write_json(partial / "classes.json", about_run["class_names"])
        write_text(partial / "predict.py", predict_script(format, image_shape, fit))
        about = {
            "run": str(run),
            "format": format,
            "precision": "int8" if int8 else "float32",
            "image_shape": list(image_shape),
            "any_size": any_size,
            "fit": fit,
            "bytes": size,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        }
        write_json(partial / "export.json", about)
    if check:
        about["check"] = check_export(folder, evaluated, int8)
        write_json(folder / "export.json", about)
    return folder, about


def _default_folder(run, format, int8, any_size):
    return Path(run) / "exports" / f"{format}{'-int8' * int8}{'-any-size' * any_size}"


def _refuse_other_files(folder):
    is_export = (folder / "export.json").exists()
    if not is_export and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something else. Choose another folder with --out.")


@contextmanager
def _written_whole(folder):
    """Yield a folder next to `folder`, which replaces it when the block succeeds.

    Raises:
        InputError: if the disk refuses.
    """
    folder = folder.resolve()  # "." has no name
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    try:
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except OSError as error:
        raise InputError(
            f"Could not write {folder}: {error.strerror or error}. Free space there or choose "
            "another with --out."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
