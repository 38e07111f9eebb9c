"""The measurements of one workload, from the start of its workers to its rows."""

import dataclasses
from contextlib import ExitStack
from datetime import datetime
from tempfile import TemporaryDirectory

from .contenders import Contender
from .parts import parts_of
from .referee import Worker, prepare_all, take_turns
from .rows import missing_row, part_row, speed_row, start_row


class SpeedSession:
    """Times the contenders, and beside them what the machine can do at most.

    Args:
        workload: `Workload`.
        contenders: Those who take part.
        pythons: From a backend to its interpreter.
        rounds: Measurements of each.
        reference: Contender that ratios are over. Default: each backend's `keras-example`.
    """

    def __init__(self, workload, contenders, pythons, rounds, reference=None):
        self.workload = workload
        self.contenders = [each for each in contenders if each.has(workload)]
        self.pythons = pythons
        self.rounds = rounds
        self.reference = reference
        self.backends = list(dict.fromkeys(each.backend for each in self.contenders))
        self.turns = (len(self.contenders) + len(self.backends)) * (1 + rounds)

    def measure(self, on_progress):
        """Return the rows."""
        session = datetime.now().astimezone().isoformat(timespec="seconds")
        with ExitStack() as stack:

            def start(contender, backend):
                worker = Worker(contender, self.workload, backend, self.pythons[backend])
                return stack.enter_context(worker)

            workers = {f"peaks/{backend}": start(None, backend) for backend in self.backends}
            workers |= {str(each): start(each, each.backend) for each in self.contenders}
            ready, failures = prepare_all(workers, on_progress)
            measured, late_failures = take_turns(ready, self.rounds, on_progress)
        failures |= late_failures
        # What the machine can do is what any framework was seen to do.
        peaks = [seen for each in self.backends for seen in measured.get(f"peaks/{each}", [])]
        seen = (workers, measured, failures, peaks)
        return [self._row(session, each, *seen) for each in self.contenders]

    def _row(self, session, contender, workers, measured, failures, peaks):
        label = str(contender)
        if label in failures:
            return missing_row(contender, self.workload, failures[label])
        reference = str(self.reference or Contender("keras-example", contender.backend))
        return speed_row(
            session,
            contender,
            self.workload,
            workers[label].facts,
            measured[label],
            (reference, measured[reference]) if reference in measured else None,
            peaks,
        )


class PartsSession:
    """Times our step on one backend with each part left out, in turns with the whole step.

    Args:
        workload: `Workload`.
        backend: Framework.
        pythons, rounds: As in `SpeedSession`.
    """

    def __init__(self, workload, backend, pythons, rounds):
        self.workload = workload
        self.backend = backend
        self.python = pythons[backend]
        self.rounds = rounds
        self.contenders = [
            Contender("ours", backend, without=part) for part in parts_of(workload.config)
        ]
        self.turns = 1 + len(self.contenders) * (1 + 2 * rounds)

    def measure(self, on_progress):
        """Return the rows."""
        with self._start(Contender("ours", self.backend)) as whole:
            _, failures = prepare_all({"whole": whole}, on_progress)
            if failures:
                return [
                    missing_row(each, self.workload, failures["whole"]) for each in self.contenders
                ]
            return [self._row(each, whole, on_progress) for each in self.contenders]

    def _row(self, contender, whole, on_progress):
        # One part after another: the memory of two models is enough.
        with self._start(contender) as without:
            _, failures = prepare_all({"without": without}, on_progress)
            if not failures:
                pair = {"whole": whole, "without": without}
                measured, failures = take_turns(pair, self.rounds, on_progress)
        if failures:
            return missing_row(contender, self.workload, next(iter(failures.values())))
        return part_row(
            contender, self.workload, without.facts, measured["without"], measured["whole"]
        )

    def _start(self, contender):
        return Worker(contender, self.workload, self.backend, self.python)


class StartsSession:
    """Times a process of ours from its start to the end of its first step, and another after it.

    The second finds the programs that the first has compiled, where the backend keeps them: each
    round begins with an empty folder for them.

    Args:
        workload: `Workload`, of which one step is made.
        backend: Framework.
        pythons, rounds: As in `SpeedSession`.
    """

    def __init__(self, workload, backend, pythons, rounds):
        self.workload = dataclasses.replace(workload, steps=1)
        self.contender = Contender("ours", backend)
        self.python = pythons[backend]
        self.rounds = rounds
        self.turns = 2 * rounds

    def measure(self, on_progress):
        """Return the row, in a list."""
        first, second = [], []
        for _ in range(self.rounds):
            with TemporaryDirectory() as cache:
                for starts in (first, second):
                    with self._start(cache) as worker:
                        _, failures = prepare_all({"ours": worker}, on_progress)
                    if failures:
                        return [missing_row(self.contender, self.workload, failures["ours"])]
                    starts.append(worker.facts)
        return [start_row(self.contender, self.workload, first, second)]

    def _start(self, cache):
        return Worker(self.contender, self.workload, self.contender.backend, self.python, cache)
