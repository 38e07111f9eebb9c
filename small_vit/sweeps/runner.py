"""Runs a sweep: skips runs that have a row, resumes runs that were stopped, reports failures."""

import time
import traceback
from contextlib import contextmanager
from functools import cache, partial

import keras
from rich.console import Console

from small_vit import hosts
from small_vit.data import fingerprint, load_data
from small_vit.data.folder.listing import refuse_inside_images
from small_vit.errors import InputError
from small_vit.models.registry import build_classifier
from small_vit.results.rows import append_rows, as_row, config_hash, read_rows, rows_by_backend
from small_vit.results.run_directory import RunDirectory, changes_that_prevent_resuming
from small_vit.results.saved_model import model_fingerprint
from small_vit.sweeps.local import run_here
from small_vit.sweeps.plan import refuse_another, write_plan
from small_vit.sweeps.ray_cluster import run_on_ray
from small_vit.sweeps.summary import summarise
from small_vit.sweeps.timing import work
from small_vit.sweeps.write_up import write_up
from small_vit.training.callbacks import TrainingDiverged
from small_vit.training.prepare import prepare
from small_vit.training.progress import clock
from small_vit.training.start import initialize, read_source


def run_plan(plan, left, address=None, **options):
    """Run the remaining runs of a plan, then write its table and pictures.

    Args:
        plan: `Plan`.
        left: Its runs that have no row yet.
        address: Address of a Ray cluster. Default: train in this process.
        **options: As for `run_here`.

    Returns:
        The failed runs: a dict of exceptions by the run's name.

    Raises:
        InputError: for data, devices, initial weights or folders that cannot be used, before
            training.
    """
    failed = {}
    refuse_another(plan)
    refuse_inside_images(plan.folder, plan.base.data)
    _refuse_rows_of_others(plan, left)
    if left:
        # Load the data before the first run: an error in it would stop all runs.
        if address is None:
            check_initial_weights(left)
            prepare(left[0].config)
            execute = partial(run_here, **options)
        else:
            # No model is built here: it would take memory of a GPU that a worker may need.
            load_data(left[0].config.data, left[0].config.model.image_size)
            execute = run_on_ray(address, **options)
        write_plan(plan)
        failed = run_sweep(left, plan.rows_path, execute)
    if hosts.is_first():
        write_up(plan, summarise(plan.arms, _rows(plan)))
    return failed


def check_initial_weights(runs):
    """Load initial weights into a model of each arm, which is not kept, and freeze its layers.

    Args:
        runs: List of `Run`. Those with neither `init_from` nor `freeze` are left out.

    Raises:
        InputError: if the weights of an arm cannot be loaded or do not fit, or it has no such
            layers.
    """
    configs = {
        (run.config.model, run.config.train.init_from, run.config.train.freeze): run.config
        for run in runs
        if run.config.train.init_from or run.config.train.freeze
    }.values()
    sources = []
    for config in configs:  # What needs no data first.
        with _naming_the_arm(config):
            sources.append(read_source(config))
    for config, source in zip(configs, sources, strict=True):
        dataset = load_data(config.data, config.model.image_size)
        with _naming_the_arm(config):
            model = build_classifier(config.model, dataset.image_shape, dataset.num_classes)
            initialize(model, config, dataset.class_names, source)


@contextmanager
def _naming_the_arm(config):
    try:
        yield
    except InputError as error:
        raise InputError(f"The arm {config.arm} cannot be trained. {error}") from error


def _rows(plan):
    return rows_by_backend(read_rows(plan.rows_path)).get(keras.backend.backend(), [])


def _refuse_rows_of_others(plan, left):
    """Check that finished runs had these images and initial weights, which configs only name."""
    rows = {row.config_hash: row for row in _rows(plan)}
    images_in = cache(lambda data, size: fingerprint(load_data(data, size)))
    weights_in = cache(model_fingerprint)
    for run in plan.runs:
        if run in left:
            continue
        row, data = rows[config_hash(run.config)], run.config.data
        images = data, run.config.model.image_size
        if data.dataset == "folder" and images_in(*images) != row.data_fingerprint:
            _refuse_row(plan, run, f"The images in {data.data_dir} are not those")
        source = run.config.train.init_from
        if source is not None and weights_in(source) != row.init_fingerprint:
            _refuse_row(plan, run, f"The weights in {source} are not those")


def _refuse_row(plan, run, difference):
    raise InputError(
        f"{difference} that {run.name} in {plan.rows_path} was trained with; only the name is the "
        "same. Choose another folder with --out to keep both results."
    )


def unfinished(runs, rows):
    """Return those of `runs` that have no row yet on the Keras backend in use.

    Args:
        runs: List of `Run`.
        rows: List of `Result` with their config's hash.

    Raises:
        InputError: if the directory of one of them holds another run.
    """
    known = {row.config_hash for row in rows if row.backend == keras.backend.backend()}
    left = [run for run in runs if config_hash(run.config) not in known]
    for run in left:
        directory = RunDirectory(run.directory)
        if not directory.started():
            continue
        changed = changes_that_prevent_resuming(directory.path, directory.config(), run.config)
        backend = directory.backend()
        if backend != keras.backend.backend():
            changed.append(f"backend: {backend} -> {keras.backend.backend()}")
        if changed:
            raise InputError(
                f"{run.directory} holds another run. Different there: {'; '.join(changed)}. "
                "Choose another folder with --out."
            )
    return left


def run_sweep(runs, rows_path, execute):
    """Execute runs, append the row of each when it ends, and print the progress.

    Args:
        runs: List of `Run`.
        rows_path: File of rows.
        execute: Function from the runs to an iterable of `(Run, outcome)` in any order, for example
            `run_here`. An outcome is a `Result`, or the exception that ended the run.

    Returns:
        The failed runs: a dict of exceptions by the run's name.

    Raises:
        InputError: if the rows cannot be written.
    """
    console = Console(soft_wrap=True, highlight=False)
    started, done, left = time.perf_counter(), 0, sum(work(run.config) for run in runs)
    failed = {}
    for count, (run, outcome) in enumerate(execute(runs), 1):
        left -= work(run.config)
        if isinstance(outcome, Exception):
            failed[run.name] = outcome
            _explain(outcome)
            outcome.__traceback__ = None  # Its frames keep the run's model in memory.
            news = "failed"
        else:
            if hosts.is_first():
                append_rows(rows_path, [as_row(outcome, run.config)])
            done += work(run.config)
            news = f"top-1 {outcome.metrics['accuracy']:.2%} in {clock(outcome.seconds)}"
        seconds = (time.perf_counter() - started) / done * left if done else None
        if hosts.is_first():
            console.print(
                f"sweep: {count} of {len(runs)} runs ended  {run.name}: {news}  "
                f"sweep's time left {clock(seconds)}",
                style="bold",
            )
    return failed


def _explain(error):
    """Print the error that ended a run, with a traceback unless its message is enough."""
    if isinstance(error, InputError | TrainingDiverged):
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False)
    else:
        traceback.print_exception(error)
