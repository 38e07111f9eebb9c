"""A sweep's runs in this process."""

from small_vit.results.run_directory import RunDirectory
from small_vit.training.run import run_experiment


def run_here(runs, **options):
    """Train runs one after the other in this process; an `execute` of `run_sweep`.

    Args:
        runs: List of `Run`.
        **options: `tensorboard` and `checkpoint_minutes`, as in `run_experiment`.
    """
    for run in runs:
        try:
            outcome = begin_or_go_on(run.config, run.directory, **options)
        except Exception as error:  # whatever a run dies of, the others go on
            outcome = error
        yield run, outcome


def begin_or_go_on(config, directory, **options):
    """Train `config` in `directory`, from its last checkpoint if it was begun there.

    Returns:
        Its `Result`.
    """
    return run_experiment(config, directory, RunDirectory(directory).begun(), **options)
