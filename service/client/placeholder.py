"""ThumbHash (evanw.github.io/thumbhash): the 25 bytes of ``info["thumbhash"]`` to a blurred placeholder.

A placeholder is a small PNG as a ``data:`` URL, which a page shows until the picture is there. The other
direction is :mod:`service.worker.thumbhash`.
"""

import base64
import binascii
import math
import struct
import zlib
from collections.abc import Callable, Iterator

LONGEST = 32
"""The longer side of a placeholder, in pixels."""


def placeholder(thumbhash: str) -> str:
    """The ``data:`` URL of a PNG for a ThumbHash in base64; "" for what is none."""
    try:
        data = base64.b64decode(thumbhash, validate=True)
    except (binascii.Error, ValueError):
        return ""
    try:
        width, height, rows = _painted(data)
    except IndexError:  # too short
        return ""
    return "data:image/png;base64," + base64.b64encode(_png(width, height, rows)).decode()


def _painted(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and RGBA rows, each after the zero byte that PNG wants before it."""
    head, tail = data[0] | data[1] << 8 | data[2] << 16, data[3] | data[4] << 8
    has_alpha, landscape = bool(head >> 23), bool(tail >> 15)
    most = 5 if has_alpha else 7
    across, down = (most, tail & 7) if landscape else (tail & 7, most)
    nibbles = _nibbles(data, 6 if has_alpha else 5)
    luma = _channel(nibbles, (head & 63) / 63, (head >> 18 & 31) / 31, max(3, across), max(3, down))
    yellow = _channel(nibbles, (head >> 6 & 63) / 31.5 - 1, 1.25 * (tail >> 3 & 63) / 63, 3, 3)
    red = _channel(nibbles, (head >> 12 & 63) / 31.5 - 1, 1.25 * (tail >> 9 & 63) / 63, 3, 3)
    opacity = _channel(nibbles, (data[5] & 15) / 15, (data[5] >> 4) / 15, 5, 5) if has_alpha else None

    ratio = across / max(1, down)
    width = max(1, math.floor(LONGEST * min(1, ratio) + 0.5))
    height = max(1, math.floor(LONGEST / max(1, ratio) + 0.5))
    rows = bytearray()
    for row in range(height):
        rows.append(0)
        for column in range(width):
            x, y = (column + 0.5) / width, (row + 0.5) / height
            light, p, q = luma(x, y), yellow(x, y), red(x, y)
            b = light - 2 / 3 * p
            r = (3 * light - b + q) / 2
            rows += bytes(_byte(v) for v in (r, r - q, b, opacity(x, y) if opacity else 1))
    return width, height, bytes(rows)


def _nibbles(data: bytes, start: int) -> Iterator[int]:
    for byte in data[start:]:
        yield byte & 15
        yield byte >> 4


def _channel(
    nibbles: Iterator[int], mean: float, scale: float, across: int, down: int
) -> Callable[[float, float], float]:
    """One channel as a function of x and y, 0 to 1. Raises IndexError if there are too few nibbles."""
    waves = [(0, 0, mean)]
    for v in range(down):
        for u in range(0 if v else 1, across):
            if u * down >= across * (down - v):
                break
            nibble = next(nibbles, None)
            if nibble is None:
                raise IndexError("the ThumbHash ends too soon")
            waves.append((u, v, 2 * scale * (nibble / 7.5 - 1)))
    return lambda x, y: sum(a * math.cos(math.pi * u * x) * math.cos(math.pi * v * y) for u, v, a in waves)


def _byte(value: float) -> int:
    return math.floor(255 * min(1, max(0, value)) + 0.5)


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
