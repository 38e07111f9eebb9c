"""`small-vit report RUN`: write the report of a run again."""

from dataclasses import dataclass

import tyro

from small_vit.cli.finished_run import FinishedRunOptions, import_keras_for
from small_vit.errors import exit_on_input_error


@dataclass(frozen=True)
class CommandLine(FinishedRunOptions):
    """Write the report of a finished run again, from its files and its data.

    These are report.md, report.html and their pictures.
    """


def main(arguments, prog="small-vit report"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0. Bad input exits with 2.
    """
    options = tyro.cli(CommandLine, args=arguments, prog=prog)
    with exit_on_input_error():
        import_keras_for(options.run)
        from small_vit.report.rewrite import rewrite_report

        print(f"Written to {rewrite_report(options.run, options.data_dir)}")
    return 0
