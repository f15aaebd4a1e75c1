"""Machine code is made where it can be kept, and where it cannot."""

import numba

from model.compiled import compiled


def test_kernels_compile_where_no_cache_can_be_written() -> None:
    names: dict = {}
    exec("def add(a, b):\n    return a + b", names)  # a function without a file has no place for a cache
    assert compiled(numba.int64(numba.int64, numba.int64))(names["add"])(1, 2) == 3
