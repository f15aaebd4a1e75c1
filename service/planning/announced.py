"""How many pixels an upload says that it has: by the first numbers of its file, without opening it.

Enough to know what it may cost before a worker opens it, and to be told so by hostile bytes: nothing here
takes memory, or time that grows faster than the file.
"""

import struct
from contextlib import suppress

_STEPS = 10_000
"""So many segments of a JPEG, or entries of a directory, are looked at."""
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
"""Markers of JPEG among those of frames that begin none."""


def announced_pixels(data: bytes) -> int:
    """Width times height as the file's header tells them, the largest where there are several; 0 if it is of
    no kind that is known here, or damaged.
    """
    with suppress(struct.error, IndexError):
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _area(">II", data, 16)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return _area("<HH", data, 6)
        if data.startswith(b"BM"):
            return _area("<HH" if data[14] == 12 else "<ii", data, 18)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data[4:8] == b"ftyp":
            return _boxes(data)
        if data.startswith((b"II", b"MM")):
            return _tiff(data)
    return 0


def _area(form: str, data: bytes, at: int) -> int:
    width, height = struct.unpack_from(form, data, at)
    return abs(width * height)


def _jpeg(data: bytes) -> int:
    """The first frame: its marker comes after segments that tell their lengths."""
    at = 2
    for _ in range(_STEPS):
        if data[at] != 0xFF:
            return 0
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            return _area(">HH", data, at + 5)
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + length
    return 0


def _webp(data: bytes) -> int:
    kind = data[12:16]
    if kind == b"VP8X":
        return (1 + int.from_bytes(data[24:27], "little")) * (1 + int.from_bytes(data[27:30], "little"))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF) * (height & 0x3FFF)


def _boxes(data: bytes) -> int:
    """AVIF and HEIF: the largest of the sizes of their parts and of the whole."""
    largest, at = 0, 0
    for _ in range(_STEPS):
        at = data.find(b"ispe", at)
        if at < 0:
            break
        largest = max(largest, _area(">II", data, at + 8))
        at += 16
    return largest


def _tiff(data: bytes) -> int:
    """The first directory, of a small or a big TIFF."""
    order = "<" if data.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    if version == 43:
        (at,) = struct.unpack_from(f"{order}Q", data, 8)
        (count,) = struct.unpack_from(f"{order}Q", data, at)
        first, length, value = at + 8, 20, 12
    else:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        first, length, value = at + 2, 12, 8
    edges = {}
    for entry in range(first, first + length * min(count, _STEPS), length):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (256, 257):
            (edges[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + value)
    return edges.get(256, 0) * edges.get(257, 0)
