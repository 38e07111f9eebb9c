"""Decodes many image files, in worker processes where that is faster."""

import itertools
import multiprocessing
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial

from PIL import Image

from small_vit.data.folder.duplicates import perceptual_hashes
from small_vit.data.folder.examine import examine
from small_vit.errors import InputError

SECONDS_WORTH_WORKERS = 1.5
"""Their start takes half a second."""

CHUNKS_IN_MEMORY = 16
"""For each process."""


def examine_all(root, paths, size, channels, fit, step):
    """Read image files and decode them, in worker processes if that is faster.

    Threads are slower than one: small images keep Python itself busy, which runs one at a time.

    Args:
        root, paths, size, channels, fit: As for `examine`.
        step: Number of files that a worker decodes at a time.

    Yields:
        `(facts, pixels)` of each file in order: `Facts`, and uint8 `(height, width, channels)`, or
        None if the file cannot be read.

    Raises:
        InputError: if a worker process is killed.
    """
    chunks = [paths[first : first + step] for first in range(0, len(paths), step)]
    decode = partial(examine, root, size=size, channels=channels, fit=fit)
    started = time.perf_counter()
    first = [decode(chunk) for chunk in chunks[:1]]
    seconds_left = (time.perf_counter() - started) * len(chunks[1:])
    decode_rest = _with_workers if seconds_left > SECONDS_WORTH_WORKERS else map
    for results in itertools.chain(first, decode_rest(decode, chunks[1:])):
        hashes = iter(perceptual_hashes([each for *_, each in results if each is not None]))
        for facts, pixels, thumbnail in results:
            if thumbnail is not None:
                facts = replace(facts, hash=int(next(hashes)))
            yield facts, pixels


def _with_workers(decode, chunks):
    """Yield decode(chunk) of each chunk in order.

    This process decodes too, while workers start and while it would wait for them.
    """
    from loky import cpu_count

    workers = max(1, cpu_count() - 1)
    pool = _start(workers)
    if pool is None:
        yield from map(decode, chunks)
        return
    work = partial(_work, decode, Image.MAX_IMAGE_PIXELS)
    chunks, waiting = iter(chunks), deque()

    def keep_workers_busy():
        lacking = 2 * workers - sum(not future.done() for future in waiting)
        some = itertools.islice(chunks, max(0, lacking))
        waiting.extend([pool.submit(work, chunk) for chunk in some])

    try:
        keep_workers_busy()
        while waiting:
            is_room = len(waiting) < CHUNKS_IN_MEMORY * (workers + 1)
            help_out = is_room and not waiting[0].done()
            if help_out and (chunk := next(chunks, None)) is not None:
                waiting.append(Future())
                waiting[-1].set_result(decode(chunk))
            else:
                # Here Pillow may have plugins that a worker lacks.
                yield [
                    each if each[0].reason is None else decode([each[0].path])[0]
                    for each in waiting.popleft().result()
                ]
            keep_workers_busy()
    except BrokenProcessPool as error:
        raise InputError(
            "A process that decodes images was killed, most likely for want of memory. Free some "
            "and run the command again: what is decoded so far is kept."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def _start(workers):
    """Return an executor with worker processes, or None where there can be none."""
    # Its workers do not run the caller's script again, as those of the standard library do.
    from loky import ProcessPoolExecutor

    if multiprocessing.current_process().daemon:
        return None
    try:
        # Without malloc's settings for training (`MALLOC`): a worker's memory would only grow.
        return ProcessPoolExecutor(workers, env={"GLIBC_TUNABLES": ""})
    except OSError:  # a system without semaphores
        return None


def _work(decode, max_image_pixels, chunk):
    Image.MAX_IMAGE_PIXELS = max_image_pixels
    return decode(chunk)
