"""The test pictures, and how far a decoded one is from its original."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.geometry import Size
from model.training.folder import held_out_paths

Pixels = NDArray[np.uint8]
"""(height, width, 3), sRGB."""
DATA = "folder of PNG pictures, or of training photographs, of which those held out are taken"
"""What to say of a folder for :func:`picture_files`."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A test picture and the name it has in tables."""

    name: str
    pixels: Pixels

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return Size(*self.pixels.shape[:2])

    @cached_property
    def digest(self) -> str:
        """Names the pixels, so that their measurements can be kept."""
        size = f"({self.size.width}, {self.size.height})"  # so the names of caches that exist begin
        return sha256(size.encode() + self.pixels.tobytes()).hexdigest()[:16]


def picture_files(folder: Path, count: int | None = None) -> list[Path]:
    """The ``*.png`` of a folder by name, or without any, the photographs below it that training holds out; of
    a ``count``, that many spread evenly over them.

    Raises FileNotFoundError if there are neither.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        try:
            _, paths = held_out_paths(folder)
        except ValueError as error:
            raise FileNotFoundError(f"no PNG pictures in {folder}, and no photographs: {error}") from error
    if count is not None and count < len(paths):
        paths = [paths[i * len(paths) // count] for i in range(count)]
    return paths


def read_pictures(folder: Path, count: int | None = None) -> list[Picture]:
    """The pictures of :func:`picture_files`."""
    paths = picture_files(folder, count)
    return [Picture(path.stem, np.asarray(Image.open(path).convert("RGB"))) for path in paths]


def middle(picture: Picture, size: Size) -> Picture:
    """The middle of a picture, of ``size`` or less."""
    top, left = (max(0, (edge - wanted) // 2) for edge, wanted in zip(picture.size, size, strict=True))
    pixels = picture.pixels[top : top + size.height, left : left + size.width]
    return Picture(picture.name, np.ascontiguousarray(pixels))


def camera_jpeg(pixels: Pixels) -> bytes:
    """The picture as a camera would hand it over: a JPEG of quality 92."""
    out = BytesIO()
    Image.fromarray(pixels).save(out, "jpeg", quality=92)
    return out.getvalue()


def psnr(original: Pixels, decoded: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit RGB in decibels, infinite for equal pictures.

    Raises ValueError for pictures of different sizes.
    """
    if original.shape != decoded.shape or original.dtype != np.uint8 or decoded.dtype != np.uint8:
        raise ValueError(f"{original.dtype}{original.shape} against {decoded.dtype}{decoded.shape}")
    error = np.mean(np.square(original.astype(np.float64) - decoded))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
