"""Colours beneath transparency: those that nobody sees, and those of a background.

What nobody sees is made like its visible neighbours, since whatever makes a picture smaller, or codes it with
loss, mixes it into pixels that are seen.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

_ROWS = 64
"""Rows that are worked on at a time, so that little memory is taken; even, so that pairs stay together."""


def fill_hidden(rgb: Image.Image, alpha: Image.Image) -> None:
    """Give pixels of ``rgb`` where ``alpha``, of the same size, is 0 the mean colour of the visible pixels
    around them, in place: of the smallest of the squares of 2, 4, 8... pixels around them that has any. A
    picture without visible pixels becomes black.
    """
    if alpha.getextrema()[0] or rgb.size == (1, 1):
        return
    means, seen = _halved(rgb, alpha)
    fill_hidden(means, seen)
    for top, bottom in _strips(rgb.height):
        hidden = alpha.crop((0, top, rgb.width, bottom)).point(lambda value: 255 * (value == 0))
        if hidden.getbbox():
            box = (0, top / 2, rgb.width / 2, bottom / 2)
            fill = means.resize(hidden.size, Image.Resampling.NEAREST, box=box)
            rgb.paste(fill, (0, top), hidden)


def flattened(image: Image.Image, background: str) -> Image.Image:
    """What is seen of an RGBA picture on a "#rrggbb" background, as RGB; others as they are."""
    if image.mode != "RGBA":
        return image
    flat = Image.new("RGB", image.size, background)
    flat.paste(image, mask=image.getchannel("A"))
    return flat


def mean_colour(rgb: Image.Image, alpha: Image.Image) -> tuple[float, ...] | None:
    """The mean of red, green and blue, 0-255, of pixels weighted by ``alpha``, of the same size; None if
    all of it is 0.
    """
    totals, opacity = np.zeros(3), 0
    for top, bottom in _strips(rgb.height):
        box = (0, top, rgb.width, bottom)
        weights = np.asarray(alpha.crop(box))
        totals += [_weighted(plane, weights).sum(dtype=np.int64) for plane in rgb.crop(box).split()]
        opacity += int(weights.sum(dtype=np.int64))
    return tuple(float(total) / opacity for total in totals) if opacity else None


def _strips(height: int) -> Iterator[tuple[int, int]]:
    """First row and end of each strip."""
    return ((top, min(top + _ROWS, height)) for top in range(0, height, _ROWS))


def _weighted(plane: Image.Image, weights: np.ndarray) -> np.ndarray:
    """A plane of 8 bits times weights of as many, in 16 bits."""
    return np.multiply(np.asarray(plane), weights, dtype=np.uint16)


def _halved(rgb: Image.Image, alpha: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The mean colours of squares of 2 x 2 pixels, weighted by opacity, and 255 for those with a visible
    pixel, 0 for others, which are black. Both have half the width and height, rounded up.
    """
    size = ((rgb.width + 1) // 2, (rgb.height + 1) // 2)
    means, seen = Image.new("RGB", size), Image.new("L", size)
    for top, bottom in _strips(rgb.height):
        box = (0, top, rgb.width, bottom)
        weights = np.asarray(alpha.crop(box))
        opacity = _sums(weights)
        share = 1 / np.maximum(opacity, 1).astype(np.float32)
        planes = [
            Image.fromarray((_sums(_weighted(plane, weights)) * share + 0.5).astype(np.uint8))
            for plane in rgb.crop(box).split()
        ]
        means.paste(Image.merge("RGB", planes), (0, top // 2))
        seen.paste(Image.fromarray(np.minimum(opacity, 1).astype(np.uint8) * 255), (0, top // 2))
    return means, seen


def _sums(plane: np.ndarray) -> np.ndarray:
    """Of each square of 2 x 2, those at the right and lower edge being cut off if need be, in 32 bits."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)))
    rows = np.add(plane[0::2], plane[1::2], dtype=np.uint32)
    return rows[:, 0::2] + rows[:, 1::2]
