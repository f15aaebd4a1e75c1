"""Threads over independent parts of one picture.

On a CPU this beats torch's own threads inside each operation: parts share no barrier, stay in
their core's cache, and the result cannot depend on the number of threads. Programs that use the
codec should therefore call ``torch.set_num_threads(1)``.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

In = TypeVar("In")
Out = TypeVar("Out")


class Threads:
    """A pool of ``count`` threads (default: one a core); with one, work runs in the caller."""

    def __init__(self, count: int | None = None):
        count = count or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(count, "codec") if count > 1 else None

    def map(self, work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """``work`` of every item, in order, without gradients; the first exception is raised."""

        def without_gradients(item: In) -> Out:
            with torch.inference_mode():
                return work(item)

        if self._pool is None:
            return [without_gradients(item) for item in items]
        futures = [self._pool.submit(without_gradients, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
