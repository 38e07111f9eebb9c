"""Starts the contenders' processes and lets them train in turns, A B C, A B C, …

A machine's speed drifts: by heat, by what else runs on it. Contenders that take turns share the
drift, and the ratio of two is taken within a round.
"""

import contextlib
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parent.parent


class WorkerFailed(RuntimeError):
    """A contender cannot be measured; the message says why in one line."""


class WorkerAbsent(WorkerFailed):
    """A contender's library is not installed."""


class Worker:
    """A contender in a process of its own. A context manager: leaving it ends the process.

    Args:
        contender: `Contender`, or None for the peaks of the machine.
        workload: `Workload`.
        backend: Keras backend of the process.
        python: Its interpreter.
        cache: Folder for the programs that JAX compiles. Default: none are kept, since the first
            step is timed too.
    """

    def __init__(self, contender, workload, backend, python, cache=None):
        self.contender = contender
        self.workload = workload
        self.backend = backend
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        # A session of its own: Ctrl-C reaches the referee alone, which ends the workers with all
        # that they have started.
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=_environment(backend, contender.environment if contender else {}, cache),
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # a request that it never read
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def prepare(self):
        """Let it import, build, compile and make its first measurement, which does not count.

        Sets `facts`, what is known of it: device, versions, parameters, `start_seconds` (imports,
        data and model) and `first_seconds` (that first measurement).
        """
        contender = self.contender and dataclasses.asdict(self.contender)
        started = time.perf_counter()
        facts = self._ask({"contender": contender, "workload": dataclasses.asdict(self.workload)})
        facts["start_seconds"] = time.perf_counter() - started
        facts["first_seconds"] = self.run()["seconds"]
        self.facts = facts

    def run(self):
        """Let it make one measurement.

        Returns:
            Dict: seconds, peak memory, and the machine's peaks if that is what it measures.
        """
        return self._ask("run")

    def _ask(self, request):
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailed(self._last_error())
        answer = json.loads(line)
        if "absent" in answer:
            raise WorkerAbsent(answer["absent"])
        return answer

    def _last_error(self):
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        # An exception's own line is the last that names one; libraries may log after it.
        named = [line for line in lines if "Error" in line.split(":")[0]]
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return (named or lines or [f"exit code {code}"])[-1]


def _environment(backend, contenders_own, cache):
    paths = [str(EXPERIMENTS), str(EXPERIMENTS.parent), os.environ.get("PYTHONPATH", "")]
    inherited = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    return {
        # One device for all: other libraries' models do not spread over several by themselves.
        "CUDA_VISIBLE_DEVICES": "0",
        # A contender that waits must not hold the whole memory of a GPU.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **inherited,
        **contenders_own,
        **({"JAX_COMPILATION_CACHE_DIR": cache} if cache else {}),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # as `run_cifar100.py` has it
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def prepare_all(workers, on_progress):
    """Prepare workers one after another.

    Args:
        workers: Dict from labels to `Worker`s.
        on_progress: Called after each.

    Returns:
        `(ready, failures)`: those workers that are ready, and the others' `WorkerFailed`.
    """
    failures = {}
    for label, worker in workers.items():
        try:
            worker.prepare()
        except WorkerFailed as error:
            failures[label] = error
        on_progress()
    return {label: w for label, w in workers.items() if label not in failures}, failures


def take_turns(workers, rounds, on_progress):
    """Let prepared workers train in turns, each once untimed before it is measured.

    A process that has waited finds its memory cold, and is slower than a training that goes on.

    Args:
        workers: Dict from labels to `Worker`s, in the order of a round.
        rounds: Number of measurements of each.
        on_progress: Called after each.

    Returns:
        `(measured, failures)`: a list of what `Worker.run` returned, one a round, of each worker
        that made all rounds, and the others' `WorkerFailed`.
    """
    measured, failures = {label: [] for label in workers}, {}
    for _ in range(rounds):
        for label, worker in workers.items():
            if label not in failures:
                try:
                    worker.run()
                    measured[label].append(worker.run())
                except WorkerFailed as error:
                    failures[label] = error
            on_progress()
    return {label: m for label, m in measured.items() if label not in failures}, failures


def quartiles(values):
    """Return `(lower quartile, median, upper quartile)`; of one value three times that."""
    if len(values) == 1:
        return (values[0],) * 3
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def ratios(seconds, reference):
    """Return how many times as fast as the reference, in each round.

    Args:
        seconds, reference: Of each round, in the same order.
    """
    return [b / a for a, b in zip(seconds, reference, strict=True)]
