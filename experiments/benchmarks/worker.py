"""The process of one contender: it prepares, then makes one measurement for each request.

It reads lines of JSON from standard input and answers each with a line on standard output. The
first request says what to prepare. Each further request is `"run"`.
"""

import inspect
import json
import os
import sys
import time
from importlib.metadata import version

from small_vit.cli.process import keep_freed_memory


def main():
    """Answer requests until standard input is closed."""
    with os.fdopen(os.dup(1), "w") as answers:
        # What libraries print goes to standard error.
        os.dup2(2, 1)
        for answer in answer_all(map(json.loads, sys.stdin)):
            print(json.dumps(answer), file=answers, flush=True)


def answer_all(requests):
    """Yield an answer to each request, a dict."""
    # Imported here: libraries may print while they are imported.
    from small_vit.results.environment import describe_environment, peak_memory_mb
    from small_vit.training.devices import choose_strategy

    from .contenders import Contender
    from .workload import Workload

    what = next(requests)
    contender = Contender(**what["contender"])
    run, parameters = contender.prepare(Workload(**what["workload"]))
    run()  # compiles
    device = choose_strategy("auto").description
    versions = describe_environment(device, None)["versions"]
    if contender.library:
        versions[contender.library] = version(contender.library)
    yield {"device": device, "versions": versions, "parameters": parameters}
    for _ in requests:
        started = time.perf_counter()
        figures = run() or {}
        seconds = time.perf_counter() - started
        yield {"seconds": seconds, "peak_memory_mb": peak_memory_mb(), **figures}


if __name__ == "__main__":
    keep_freed_memory(inspect.currentframe())
    main()
