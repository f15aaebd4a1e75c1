"""Loops over numbers as machine code, by numba."""

from collections.abc import Callable
from typing import Any

from numba import njit, types

FUSED = {"contract"}
"""A multiplication and an addition may be rounded once; the order of sums stays."""


def compiled(signature: Any, fastmath: Any = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile for arguments and an answer of this ``signature``, to run without the GIL.

    The machine code is kept on disk: beside the function's file, in the user's cache folder or in
    NUMBA_CACHE_DIR. Where nothing is writable, each process compiles for itself.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(signature, nogil=True, cache=True, fastmath=fastmath)(function)
        except RuntimeError:  # there is no place for the cache
            return njit(signature, nogil=True, fastmath=fastmath)(function)

    return decorate


def read(kind: Any, dimensions: int = 1) -> Any:
    """The type of an array that is only read, its last axis contiguous."""
    return types.Array(kind, dimensions, "C", readonly=True)
