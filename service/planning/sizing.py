"""From the wanted width, height and fit to layer, crop and output size. Arithmetic only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from model.geometry import Box, Size
from service.errors import BadParameter, NotFound

REGION_SHARE = 0.25
"""A part of at most this share of its layer is decoded alone."""
MAX_UPSCALE = 2
"""How far beyond the original a picture is enlarged when the client asks for it."""


class Fit(StrEnum):
    """How a picture is brought into a box of ``width`` x ``height``.

    contain: as large as fits inside, proportions kept (default). inside: the same, but never
    enlarged, even with ``upscale``. cover: fills the box, proportions kept, the overhang cut off,
    evenly or so that the focus stays in sight. fill: stretched to the box.
    """

    CONTAIN = "contain"
    COVER = "cover"
    FILL = "fill"
    INSIDE = "inside"


@dataclass(frozen=True)
class Wanted:
    """What a client asks for: the box in CSS pixels (None: free), multiplied by ``dpr``.

    ``focus`` is what ``cover`` brings as near to the middle as it can, in shares of width and height; None:
    the middle.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = Fit.CONTAIN
    dpr: float = 1.0
    upscale: bool = False
    layer: int | None = None
    focus: tuple[float, float] | None = None


@dataclass(frozen=True)
class View:
    """What is shown of a picture: ``layer``, of it ``crop`` (layer pixels, None: all), at ``size`` pixels."""

    layer: int
    size: Size
    crop: Box | None = None


def choose_view(layers: Sequence[Size], wanted: Wanted) -> View:
    """The cheapest way to the wanted picture; ``layers`` are sizes, smallest first.

    Raises BadParameter if parameters contradict each other, NotFound for a layer that is not there.
    """
    if wanted.layer is not None:
        if wanted.width or wanted.height:
            raise BadParameter("layer excludes width and height")
        if wanted.layer >= len(layers):
            raise NotFound(f"layer {wanted.layer}: this picture has layers 0 to {len(layers) - 1}")
        return View(wanted.layer, layers[wanted.layer])
    scaled, size = _target(layers[-1], wanted)
    layer = choose(layers, scaled)
    if size == scaled:
        return View(layer, size)
    return View(layer, size, _placed(layers[layer], scaled, size, wanted.focus or (0.5, 0.5)))


def decoded_alone(crop: Box | None, layer: Size) -> bool:
    """Whether a part of a layer is decoded by itself, rather than cut out of the whole layer.

    The whole is worth its time if most of it is wanted; and it is kept for the next request.
    """
    return crop is not None and crop.size.area <= REGION_SHARE * layer.area


def decoding_cost(layers: Sequence[Size], layer: int, crop: Box | None = None) -> float:
    """Pixels to decode, in all layers together, for a layer or a part of it."""
    pixels = sum(size.area for size in layers[: layer + 1])
    if crop is None or not decoded_alone(crop, layers[layer]):
        return float(pixels)
    return pixels * crop.size.area / layers[layer].area


def can_enlarge(small: Size, large: Size) -> bool:
    """Whether the network makes a picture of size ``large`` out of one of size ``small``.

    That is where both edges grow, by at most MAX_UPSCALE; all else is resampled.
    """
    return all(a < b <= MAX_UPSCALE * a for a, b in zip(small, large, strict=True))


def choose(layers: Sequence[Size], needed: Size) -> int:
    """Index of the smallest layer at least as wide and as high as ``needed``, else the largest."""
    for k, size in enumerate(layers):
        if size.width >= needed.width and size.height >= needed.height:
            return k
    return len(layers) - 1


def _target(original: Size, wanted: Wanted) -> tuple[Size, Size]:
    """Size of the whole picture after scaling, and of the answer (smaller when it is cropped)."""
    if not wanted.width and not wanted.height:
        return original, original
    limit = Fraction(MAX_UPSCALE if wanted.upscale and wanted.fit is not Fit.INSIDE else 1)
    density = Fraction(wanted.dpr)
    across = wanted.width and wanted.width * density / original.width
    down = wanted.height and wanted.height * density / original.height
    if across and down and wanted.fit is Fit.FILL:
        size = _scaled(original, min(down, limit), min(across, limit))
        return size, size
    if across and down and wanted.fit is Fit.COVER:
        scale = max(across, down)
        shrink = min(Fraction(1), limit / scale)  # not enough pixels: a smaller box of the same proportions
        size = _scaled(original, down * shrink, across * shrink)
        scaled = _scaled(original, scale * shrink, scale * shrink)
        return Size(max(scaled.height, size.height), max(scaled.width, size.width)), size
    scale = min(factor for factor in (across, down, limit) if factor)
    size = _scaled(original, scale, scale)
    return size, size


def _scaled(size: Size, down: Fraction, across: Fraction) -> Size:
    return Size(max(1, round(size.height * down)), max(1, round(size.width * across)))


def _placed(layer: Size, scaled: Size, size: Size, focus: tuple[float, float]) -> Box:
    """The part of a layer that shows, scaled to ``scaled``, when ``size`` is cut out around ``focus``."""
    height = min(layer.height, max(1, round(layer.height * size.height / scaled.height)))
    width = min(layer.width, max(1, round(layer.width * size.width / scaled.width)))
    top = _start(layer.height, height, focus[1])
    left = _start(layer.width, width, focus[0])
    return Box(top, left, top + height, left + width)


def _start(whole: int, part: int, middle: float) -> int:
    """Where a part begins whose middle is as near to a share of the whole as it can be."""
    return min(whole - part, max(0, math.floor(whole * middle - part / 2)))
