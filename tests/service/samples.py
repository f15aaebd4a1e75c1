"""Pictures to upload, made here: every kind that cameras, scanners and attackers send."""

import struct
import zipfile
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A colourful picture with smooth parts, edges and a little grain; the same for a seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    phases = random.uniform(0, 6, (3, 3))
    planes = [128 + 60 * np.sin(5 * x + p) + 60 * np.cos(4 * y + q) + 4 * r for p, q, r in phases]
    pixels = np.stack(planes, -1)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = random.integers(0, 255, 3)
    pixels += random.normal(0, 2, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of Pillow's format ``kind``."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels(data: bytes) -> np.ndarray:
    """The pixels of a file, as int32 so that differences do not wrap."""
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image).astype(np.int32)


def oriented(image: Image.Image, orientation: int) -> bytes:
    """A JPEG that looks like ``image`` once its EXIF orientation (1-8) is applied."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = image.transpose(undo[orientation]) if orientation in undo else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, "JPEG", quality=95, exif=exif)


def adobe_rgb_profile() -> bytes:
    """A small ICC v2 profile with the primaries and the gamma of Adobe RGB (1998)."""
    primaries = {
        b"rXYZ": _xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": _xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": _xyz(0.14919, 0.06322, 0.74457),
    }
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(563 / 256))
    return _profile(b"RGB ", b"Adobe RGB-like\0", primaries | curves)


def linear_grey_profile() -> bytes:
    """A small ICC v2 profile of grey whose samples are proportional to light."""
    return _profile(b"GRAY", b"Linear grey\0", {b"kTRC": _gamma(1)})


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def _profile(space: bytes, name: bytes, colours: dict[bytes, bytes]) -> bytes:
    """The ICC v2 profile of a display with that name, which ends in a zero, and with these tags."""
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + b"\0" * (4 + 4 + 2 + 1 + 67)
    white = (0.9642, 1.0, 0.8249)
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(*white), **colours}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += padded
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", space, b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + _fixed(*white)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def bomb(width: int, height: int) -> bytes:
    """A valid PNG of one colour and enormous size in few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def polyglot(image: Image.Image) -> bytes:
    """A JPEG that is a ZIP archive as well."""
    out = BytesIO(encoded(image, "JPEG", quality=95))
    out.seek(0, 2)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("index.html", "<script>alert(1)</script>")
    return out.getvalue()
