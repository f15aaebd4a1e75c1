"""Threads over independent parts of one picture.

On a CPU this beats torch's own threads inside each operation: parts share no barrier, stay in
their core's cache, and, since every part is computed by one thread alone, the result does not
depend on how many there are.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

In = TypeVar("In")
Out = TypeVar("Out")


class Threads:
    """A pool of ``count`` threads (default: one per core), in which torch uses no further threads.

    Starting the first of them turns torch's own threads off in the whole process.
    """

    def __init__(self, count: int | None = None):
        count = count or len(os.sched_getaffinity(0))
        # each thread has an OpenMP setting of its own, which begins as OMP_NUM_THREADS
        self._pool = ThreadPoolExecutor(count, "codec", torch.set_num_threads, (1,))

    def map(self, work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """What ``work`` gives for every item, in order, without gradients. Raises the first exception."""

        def without_gradients(item: In) -> Out:
            with torch.inference_mode():
                return work(item)

        futures = [self._pool.submit(without_gradients, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
