"""JPEG, WebP, AVIF and JPEG 2000 as Pillow codes them, each set up for a high PSNR.

AVIF: 4:4:4, tuned for PSNR, speed 4, which takes 8 % fewer bytes and 5 times as long as the encoder's
default 6 (speed 2: 11 % and 13 times, speed 0: 12 % and 44 times). JPEG: 4:2:0 with optimised tables. WebP:
the slowest method. JPEG 2000: the irreversible wavelet and colour transform, no container.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, __version__

from benchmarks.measure.cache import Cache, Measurement
from benchmarks.measure.pictures import Picture, Pixels, psnr


@dataclass(frozen=True)
class ClassicCodec:
    """One of Pillow's formats; ``ladder`` holds its quality settings, from few bytes to many."""

    name: str
    format: str
    ladder: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, pixels: Pixels, quality: int) -> bytes:
        """The picture as a file of this format; JPEG 2000's ``quality`` is a PSNR in decibels."""
        file = BytesIO()
        level = {"quality_layers": [quality]} if self.format == "JPEG2000" else {"quality": quality}
        Image.fromarray(pixels).save(file, self.format, **level, **self.options)
        return file.getvalue()

    def decode(self, data: bytes) -> Pixels:
        """The picture in a file of this format."""
        return np.asarray(Image.open(BytesIO(data), formats=[self.format]).convert("RGB"))

    def measure(self, picture: Picture, quality: int, cache: Cache) -> Measurement:
        """Bytes and PSNR of one picture at one quality, as one layer; kept in ``cache``."""

        def code() -> Measurement:
            data = self.encode(picture.pixels, quality)
            return [[len(data), psnr(picture.pixels, self.decode(data))]]

        key = f"{self.format} {sorted(self.options.items())} {__version__} {quality} {picture.digest}"
        return cache.get(key, code)


CLASSIC_CODECS = (
    ClassicCodec("jpeg", "JPEG", (5, 10, 20, 30, 40, 50, 60, 70, 80, 90), {"optimize": True}),
    ClassicCodec("webp", "WEBP", (0, 5, 15, 25, 35, 50, 65, 80, 90), {"method": 6}),
    ClassicCodec(
        "avif",
        "AVIF",
        (1, 3, 6, 12, 20, 30, 40, 50, 60),
        {"subsampling": "4:4:4", "speed": 4, "max_threads": 1, "advanced": {"tune": "psnr"}},
    ),
    ClassicCodec(
        "jpeg2000",
        "JPEG2000",
        (24, 26, 28, 30, 32, 34, 36, 38),
        {"quality_mode": "dB", "irreversible": True, "mct": 1, "no_jp2": True},
    ),
)
