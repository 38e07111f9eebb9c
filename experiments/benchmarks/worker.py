"""The process in which one contender lives: it prepares, then trains whenever it is told to.

It reads lines of JSON from standard input and answers each with one on standard output. While it
waits for the next it computes nothing. The first line says what to prepare; each further one is
`"run"`.
"""

import inspect
import json
import os
import sys
import time
from importlib.metadata import version

from run_cifar100 import keep_freed_memory


def main():
    """Serve until the referee is gone."""
    with os.fdopen(os.dup(1), "w") as answers:
        # Libraries print where they like; the answers' pipe is not for them.
        os.dup2(2, 1)
        for answer in serve(map(json.loads, sys.stdin)):
            print(json.dumps(answer), file=answers, flush=True)


def serve(requests):
    """Yield an answer to each of the requests."""
    what = next(requests)
    try:
        prepared, environment = _prepare(what)
    except ModuleNotFoundError as error:
        if error.name is None:  # a library's own complaint about what it was given
            raise
        yield {"absent": f"{error.name} is not installed"}
        return
    from small_vit.runs import peak_memory_mb  # Keras is known to be there by now

    environment["versions"] |= {name: version(name) for name in prepared.packages}
    yield {
        "device": environment["device"],
        "versions": environment["versions"],
        "parameters": prepared.parameters,
    }
    for _ in requests:
        started = time.perf_counter()
        figures = prepared.run() or {}
        seconds = time.perf_counter() - started
        yield {"seconds": seconds, "peak_memory_mb": peak_memory_mb(), **figures}


def _prepare(what):
    # Imported here, since even Keras fails to import where its backend is not installed.
    from small_vit.runs import describe_environment

    from . import peaks
    from .contenders import Contender
    from .workload import Workload

    workload = Workload(**what["workload"])
    if what["contender"] is None:
        prepared = peaks.prepare(workload)
    else:
        prepared = Contender(**what["contender"]).prepare(workload)
    return prepared, describe_environment(prepared.device, None)


if __name__ == "__main__":
    keep_freed_memory(inspect.currentframe())
    main()
