"""Starts a worker process for each contender and lets them train in turns: A B C, A B C, …

The speed of a machine drifts, for example with heat or with other jobs. Contenders that take turns
share the drift, and ratios are within a round.
"""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.progress import track

EXPERIMENTS = Path(__file__).resolve().parent.parent


class WorkerFailed(RuntimeError):
    """A contender cannot be measured; the message gives the reason in one line."""


class Worker:
    """A contender in its own process. A context manager: leaving it ends the process.

    Args:
        backend: Keras backend of the process.
        python: Its interpreter.
    """

    def __init__(self, backend, python):
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - until its end
        # In a new session, Ctrl-C reaches only this process. It then ends the worker and all
        # processes that the worker has started.
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=_environment(backend),
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        # The process may have ended already, without reading the last request.
        with suppress(ProcessLookupError, BrokenPipeError), self.process, self.errors:
            os.killpg(self.process.pid, signal.SIGKILL)

    def ask(self, request):
        """Send a request of `benchmarks.worker` and return the answer, a dict.

        Raises:
            WorkerFailed: if the process has ended.
        """
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailed(self._last_error())
        return json.loads(line)

    def _last_error(self):
        code = self.process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        # The last line that names an exception; libraries may log after it.
        named = [line for line in lines if "Error" in line.split(":")[0]]
        return (named or lines or [f"exit code {code}"])[-1]


def _environment(backend):
    paths = [str(EXPERIMENTS), str(EXPERIMENTS.parent), os.environ.get("PYTHONPATH", "")]
    return {
        # One device for all: the models of other libraries do not use several by themselves.
        "CUDA_VISIBLE_DEVICES": "0",
        # A contender that waits must not occupy the whole memory of a GPU.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def take_turns(workers, workload, rounds):
    """Prepare the workers, then let them train in turns, each time once untimed, then timed.

    The untimed run is a warm-up: after waiting, a process is slower because its caches are cold.

    Args:
        workers: Dict from `Contender`s to `Worker`s, in the order of a round.
        workload: `Workload`.
        rounds: Number of measurements of each.

    Returns:
        `(facts, measured, failures)`, dicts by contender: the answer to its preparation; a list of
        its measurements, one a round; the reason why it was not measured, a string.
    """
    facts, measured, failures = {}, {each: [] for each in workers}, {}
    turns = list(itertools.product(range(rounds + 1), workers.items()))
    for turn, (contender, worker) in track(turns, workload.model, transient=True):
        if contender in failures:
            continue
        try:
            if turn == 0:
                what = {"contender": contender, "workload": workload}
                facts[contender] = worker.ask({k: dataclasses.asdict(v) for k, v in what.items()})
            else:
                worker.ask("run")
                measured[contender].append(worker.ask("run"))
        except WorkerFailed as error:
            failures[contender] = str(error)
            del measured[contender]
    return facts, measured, failures
