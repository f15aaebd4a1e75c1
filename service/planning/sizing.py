"""From the wanted width, height and fit to layer, crop and output size. Arithmetic only."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from service.errors import BadParameter, NotFound

REGION_SHARE = 0.25
"""A part of at most this share of its layer is decoded alone."""
MAX_UPSCALE = 2
"""How far beyond the original a picture is enlarged when the client asks for it."""

Size = tuple[int, int]
"""Width and height; :class:`model.geometry.Size` has the height first."""
Box = tuple[int, int, int, int]


class Fit(StrEnum):
    """How a picture is brought into a box of ``width`` x ``height``.

    contain: as large as fits inside, proportions kept (default). inside: the same, but never
    enlarged, even with ``upscale``. cover: fills the box, proportions kept, the overhang cut off
    evenly. fill: stretched to the box.
    """

    CONTAIN = "contain"
    COVER = "cover"
    FILL = "fill"
    INSIDE = "inside"


@dataclass(frozen=True)
class Wanted:
    """What a client asks for: the box in CSS pixels (None: free), multiplied by ``dpr``."""

    width: int | None = None
    height: int | None = None
    fit: Fit = Fit.CONTAIN
    dpr: float = 1.0
    upscale: bool = False
    layer: int | None = None


@dataclass(frozen=True)
class Plan:
    """Decode ``layer``, cut out ``crop`` (layer pixels, None: all), resize to ``size``."""

    layer: int
    size: Size
    crop: Box | None = None


def plan(layers: Sequence[Size], wanted: Wanted) -> Plan:
    """The cheapest way to the wanted picture; ``layers`` are sizes, smallest first.

    Raises BadParameter if parameters contradict each other, NotFound for a layer that is not there.
    """
    if wanted.layer is not None:
        if wanted.width or wanted.height:
            raise BadParameter("layer excludes width and height")
        if wanted.layer >= len(layers):
            raise NotFound(f"layer {wanted.layer}: this picture has layers 0 to {len(layers) - 1}")
        return Plan(wanted.layer, layers[wanted.layer])
    whole, size = _target(layers[-1], wanted)
    layer = choose(layers, whole)
    if size == whole:
        return Plan(layer, size)
    return Plan(layer, size, _centred(layers[layer], whole, size))


def decoded_alone(crop: Box | None, layer: Size) -> bool:
    """Whether a part of a layer is decoded by itself, rather than cut out of the whole layer.

    The whole is worth its time if most of it is wanted; and it is kept for the next request.
    """
    return crop is not None and _area(crop) <= REGION_SHARE * layer[0] * layer[1]


def decoding_cost(layers: Sequence[Size], layer: int, crop: Box | None = None) -> float:
    """Pixels to decode, in all layers together, for a layer or a part of it."""
    if crop is None or not decoded_alone(crop, layers[layer]):
        return float(sum(width * height for width, height in layers[: layer + 1]))
    share = _area(crop) / (layers[layer][0] * layers[layer][1])
    return share * sum(width * height for width, height in layers[: layer + 1])


def choose(layers: Sequence[Size], needed: Size) -> int:
    """Index of the smallest layer at least as wide and as high as ``needed``, else the largest."""
    for k, (width, height) in enumerate(layers):
        if width >= needed[0] and height >= needed[1]:
            return k
    return len(layers) - 1


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _target(original: Size, wanted: Wanted) -> tuple[Size, Size]:
    """Size of the whole picture after scaling, and of the answer (smaller when it is cropped)."""
    width, height = original
    if not wanted.width and not wanted.height:
        return original, original
    limit = Fraction(MAX_UPSCALE if wanted.upscale and wanted.fit is not Fit.INSIDE else 1)
    density = Fraction(wanted.dpr)
    across = wanted.width and wanted.width * density / width
    down = wanted.height and wanted.height * density / height
    if across and down and wanted.fit is Fit.FILL:
        size = _scaled(original, min(across, limit), min(down, limit))
        return size, size
    if across and down and wanted.fit is Fit.COVER:
        scale = max(across, down)
        shrink = min(Fraction(1), limit / scale)  # not enough pixels: a smaller box of the same proportions
        size = _scaled(original, across * shrink, down * shrink)
        whole = _scaled(original, scale * shrink, scale * shrink)
        return (max(whole[0], size[0]), max(whole[1], size[1])), size
    scale = min(factor for factor in (across, down, limit) if factor)
    size = _scaled(original, scale, scale)
    return size, size


def _scaled(size: Size, across: Fraction, down: Fraction) -> Size:
    return max(1, round(size[0] * across)), max(1, round(size[1] * down))


def _centred(layer: Size, whole: Size, size: Size) -> Box:
    """The part of a layer that shows, when it is scaled to ``whole`` and ``size`` is cut out."""
    width = min(layer[0], max(1, round(layer[0] * size[0] / whole[0])))
    height = min(layer[1], max(1, round(layer[1] * size[1] / whole[1])))
    left, top = (layer[0] - width) // 2, (layer[1] - height) // 2
    return left, top, left + width, top + height
