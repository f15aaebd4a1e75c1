"""Freed memory goes back to the system, after large work alone."""

import ctypes

import numpy as np
import psutil
import pytest

from model.memory import LARGE, give_back

MIB = 2**20


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc")
def test_what_was_freed_goes_back_after_large_work() -> None:
    blocks = [np.ones(12_000) for _ in range(2000)]  # 183 MiB in blocks below the threshold of mmap
    del blocks[:-1]  # the last one holds the others' place
    resident = psutil.Process().memory_info().rss
    give_back(LARGE - 1)
    assert psutil.Process().memory_info().rss > resident - 50 * MIB
    give_back(LARGE)
    assert psutil.Process().memory_info().rss < resident - 100 * MIB
    assert blocks[0].sum() == 12_000
