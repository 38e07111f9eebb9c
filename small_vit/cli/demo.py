"""`small-vit demo RUN`: a web page that classifies images."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from small_vit.cli.finished_run import FinishedRunOptions, import_keras_for
from small_vit.errors import InputError, exit_on_input_error

SAMPLES = 8
"""Test images to choose from."""


@dataclass(frozen=True)
class CommandLine(FinishedRunOptions):
    """Show a run's trained model on a web page: give it an image, and it names the classes.

    The page takes an image by upload or paste, or one of the run's test images. It shows the five
    most probable classes and, for models with attention, where the model looks. Nothing leaves
    this machine, and only this machine can open the page, unless --host says otherwise.
    """

    compare: Path | None = None
    """A second run, whose answers are shown beside those of the first."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets every machine of the network open the page."""
    port: int | None = None
    """Port. Default: the first free one from 7860 on."""


def main(arguments, prog="small-vit demo"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0. Bad input exits with 2.
    """
    options = tyro.cli(CommandLine, args=arguments, prog=prog)
    with exit_on_input_error():
        if options.port is not None and not 1 <= options.port <= 65535:
            raise InputError(f"--port must be from 1 to 65535. Received: {options.port}.")
        import_keras_for(options.run)
        from small_vit.deploy.demo import DemoModel, build_page, serve

        runs = [options.run] if options.compare is None else [options.run, options.compare]
        models = [DemoModel.from_run(run) for run in runs]
        with tempfile.TemporaryDirectory() as folder:
            # Gradio keeps uploads there; they go when the page is closed.
            os.environ["GRADIO_TEMP_DIR"] = os.path.join(folder, "uploads")
            page = build_page(models, _samples(options, Path(folder)))
            print(f"Open {serve(page, options.host, options.port)} in a browser; Ctrl-C stops it.")
            sys.stdout.flush()
            page.block_thread()
    return 0


def _samples(options, folder):
    """Write test images to choose from; without the run's data there are none."""
    from small_vit.data import load_data
    from small_vit.deploy.samples import write_samples
    from small_vit.results.run_directory import RunDirectory

    try:
        config = RunDirectory(options.run).config()
        data = config.data
        if options.data_dir is not None:
            data = data.replace(data_dir=str(options.data_dir))
        dataset = load_data(data, config.model.image_size)
    except InputError as error:
        print(f"The page shows no test images: {error}", file=sys.stderr)
        return []
    return [path for path, _ in write_samples(dataset, folder, SAMPLES)]
