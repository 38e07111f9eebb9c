"""A sweep's runs in this process."""

from small_vit.results.run_directory import RunDirectory
from small_vit.training.run import run_experiment


def run_here(runs, **options):
    """Train runs one after the other in this process; an `execute` function for `run_sweep`.

    Args:
        runs: List of `Run`.
        **options: `tensorboard` and `checkpoint_minutes`, as in `run_experiment`.
    """
    for run in runs:
        try:
            outcome = train_or_resume(run.config, run.directory, **options)
        except Exception as error:  # a run that fails does not stop the others
            outcome = error
        yield run, outcome


def train_or_resume(config, directory, **options):
    """Train `config` in `directory`, or resume it if it was started there.

    Returns:
        Its `Result`.
    """
    return run_experiment(config, directory, RunDirectory(directory).started(), **options)
