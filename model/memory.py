"""Memory that was freed goes back to the system."""

import ctypes

LARGE = 2**20
"""Pixels of a layer after whose coding or decoding memory is given back: 15 ms are nothing beside it."""


def give_back(pixels: int) -> None:
    """Give freed memory back to the system after work on so many ``pixels``, if they are many.

    glibc keeps blocks below its threshold for mmap, which rises with use: after 12 megapixels more than
    300 MB of them, scattered, which the next layer uses only in part. Does nothing with another C library.
    """
    if pixels >= LARGE and _trim is not None:
        _trim(0)


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
