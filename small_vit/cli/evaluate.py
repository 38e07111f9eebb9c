"""`small-vit evaluate RUN`: measure a trained model on the test set."""

from dataclasses import dataclass

import tyro

from small_vit.cli.finished_run import FinishedRunOptions
from small_vit.cli.process import prefer_backend_of
from small_vit.errors import exit_on_input_error
from small_vit.quiet import import_keras


@dataclass(frozen=True)
class CommandLine(FinishedRunOptions):
    """Measure a run's trained model on the test set of the run's data, and print the metrics.

    A run does this at its end: its result.json holds the same numbers. This command measures the
    saved model again, for instance on another machine.
    """

    batch_size: int = 256
    """Images at a time."""


def main(arguments, prog="small-vit evaluate"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0. Bad input exits with 2.
    """
    options = tyro.cli(CommandLine, args=arguments, prog=prog)
    with exit_on_input_error():
        prefer_backend_of(options.run)
        import_keras()
        from small_vit.report.rewrite import evaluate_run
        from small_vit.report.run_report import metrics_table

        evaluated = evaluate_run(options.run, options.data_dir, options.batch_size)
        config = evaluated.config
        print(
            f"{config.arm} on the test set of {config.data.dataset}, "
            f"{len(evaluated.logits):,} images\n\n"
            f"{metrics_table({'test': evaluated.metrics})}"
        )
    return 0
