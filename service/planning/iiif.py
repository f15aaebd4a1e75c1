"""IIIF Image API 3.0: what its URLs mean, in pixels. Parsing and arithmetic only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from service.errors import BadRequest, NotImplementedHere
from service.planning.formats import MAX_OUTPUT_EDGE
from service.planning.plans import Finish
from service.planning.sizing import MAX_UPSCALE, Box, Size, View, choose

CONTEXT = "http://iiif.io/api/image/3/context.json"
PROFILE = "http://iiif.io/api/image/3/level2.json"
FORMATS = {"jpg": "jpeg", "png": "png", "webp": "webp", "avif": "avif"}
QUALITIES = ("default", "color", "gray", "bitonal")
TILE = 512
"""Edge of the tiles that info.json offers, in pixels."""

_OTHER_FORMATS = ("tif", "gif", "jp2", "pdf")
_SLACK = Fraction(99, 100)
"""A layer this much too small still serves: tile sizes are rounded up."""

_NUMBER = r"(?:\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})"
_PIXELS = re.compile(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", re.ASCII)
_PERCENT = re.compile(rf"pct:({_NUMBER}),({_NUMBER}),({_NUMBER}),({_NUMBER})", re.ASCII)
_SIZE = re.compile(
    rf"(\^?)(?:(max)|pct:({_NUMBER})|(!?)(\d{{1,9}}),(\d{{1,9}})|(\d{{1,9}}),|,(\d{{1,9}}))", re.ASCII
)
_ROTATION = re.compile(rf"(!?)({_NUMBER})", re.ASCII)


@dataclass(frozen=True)
class Limits:
    """The largest answer: pixels across, pixels down, pixels in all, and times the region's own size."""

    width: int
    height: int
    area: int
    enlargement: int = MAX_UPSCALE

    @classmethod
    def of(cls, picture: Size, area: int, trusted: bool = False) -> "Limits":
        """Those of one picture; ``area`` is the service's own limit in pixels. For whoever is not trusted a
        region is enlarged no further than the picture.
        """
        enlargement = max(MAX_UPSCALE * edge for edge in picture) if trusted else MAX_UPSCALE
        return cls(MAX_UPSCALE * picture[0], MAX_UPSCALE * picture[1], area, enlargement)

    def within(self, region: Size) -> "Limits":
        """Those of a region of so many pixels."""
        width = min(self.width, self.enlargement * region[0])
        height = min(self.height, self.enlargement * region[1])
        return Limits(width, height, self.area, self.enlargement)

    def allow(self, size: Size) -> bool:
        """Whether an answer may have this size."""
        return size[0] <= self.width and size[1] <= self.height and size[0] * size[1] <= self.area

    def largest(self, region: Size) -> Size:
        """The largest size with the region's proportions."""
        width, height = region
        scale = min(Fraction(self.width, width), Fraction(self.height, height))
        if width * height * scale**2 > self.area:
            scale = Fraction((self.area / (width * height)) ** 0.5)
        return max(1, int(width * scale)), max(1, int(height * scale))


@dataclass(frozen=True)
class ImageRequest:
    """What one image URL asks for: ``region`` in pixels of the whole picture, ``size`` before rotation.

    ``rotation`` is in degrees clockwise, after mirroring; ``format`` is a name of
    :data:`service.planning.formats.MEDIA_TYPES`.
    """

    region: Box
    size: Size
    rotation: int
    mirror: bool
    quality: str
    format: str

    def view(self, layers: Sequence[Size]) -> View:
        """The layer (of sizes, smallest first) that serves, and what is shown of it."""
        layer = self.layer(layers)
        return View(layer, self.size, self.crop(layers[-1], layers[layer]))

    @property
    def finish(self) -> Finish:
        """What is done to the pixels of the view."""
        return Finish(
            rotation=self.rotation,
            mirror=self.mirror,
            gray=self.quality == "gray",
            bitonal=self.quality == "bitonal",
        )

    def layer(self, layers: Sequence[Size]) -> int:
        """The smallest layer (of sizes, smallest first) that has the pixels for this."""
        left, top, right, bottom = self.region
        scale = max(Fraction(self.size[0], right - left), Fraction(self.size[1], bottom - top)) * _SLACK
        width, height = layers[-1]
        return choose(layers, (int(width * scale), int(height * scale)))

    def crop(self, picture: Size, layer: Size) -> Box | None:
        """The region in pixels of a layer; None for all of it."""
        if self.region == (0, 0, *picture):
            return None
        left, right = _within(self.region[0], self.region[2], picture[0], layer[0])
        top, bottom = _within(self.region[1], self.region[3], picture[1], layer[1])
        return left, top, right, bottom

    def canonical(self, picture: Size) -> str:
        """The one preferred path of this request, from the region on (section 4.7 of the standard)."""
        left, top, right, bottom = self.region
        width, height = right - left, bottom - top
        region = "full" if self.region == (0, 0, *picture) else f"{left},{top},{width},{height}"
        larger = self.size[0] > width or self.size[1] > height
        size = "max" if self.size == (width, height) else f"{'^' * larger}{self.size[0]},{self.size[1]}"
        kind = next(name for name, known in FORMATS.items() if known == self.format)
        quality = "default" if self.quality == "color" else self.quality
        return f"{region}/{size}/{'!' * self.mirror}{self.rotation}/{quality}.{kind}"


def parse(picture: Size, limits: Limits, region: str, size: str, rotation: str, file: str) -> ImageRequest:
    """Understand the last four parts of an image URL of a picture of (width, height) pixels.

    Raises BadRequest for what is no IIIF request or impossible for this picture, and
    NotImplementedHere for what the standard knows and this service does not.
    """
    quality, _, kind = file.rpartition(".")
    if quality not in QUALITIES:
        raise BadRequest(f"quality {quality[:40]!r}: one of {', '.join(QUALITIES)}")
    if kind in _OTHER_FORMATS:
        raise NotImplementedHere(f"format {kind}: offered are {', '.join(FORMATS)}")
    if kind not in FORMATS:
        raise BadRequest(f"format {kind[:40]!r}: one of {', '.join(FORMATS)}")
    box = _region(picture, region)
    mirror, degrees = _rotation(rotation)
    cut = box[2] - box[0], box[3] - box[1]
    wanted = _size(cut, limits.within(cut), size)
    name = FORMATS[kind]
    if max(wanted) > MAX_OUTPUT_EDGE[name]:
        raise BadRequest(f"{name} has at most {MAX_OUTPUT_EDGE[name]} pixels per side")
    return ImageRequest(box, wanted, degrees, mirror, quality, name)


def information(base: str, layers: Sequence[Size], limits: Limits) -> dict[str, Any]:
    """The content of info.json; ``base`` is the picture's IIIF URL, ``layers`` sizes, smallest first."""
    width, height = layers[-1]
    factors = [1]
    while max(width, height) > TILE * factors[-1]:
        factors.append(2 * factors[-1])
    return {
        "@context": CONTEXT,
        "id": base,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": width,
        "height": height,
        "maxWidth": limits.width,
        "maxHeight": limits.height,
        "maxArea": limits.area,
        "sizes": [{"width": w, "height": h} for w, h in layers if limits.allow((w, h))],
        "tiles": [{"width": TILE, "height": TILE, "scaleFactors": factors}],
        "preferredFormats": ["avif", "webp", "jpg"],
        "extraFormats": ["webp", "avif"],
        "extraQualities": ["color", "gray", "bitonal"],
        "extraFeatures": ["canonicalLinkHeader", "mirroring", "profileLinkHeader", "sizeUpscaling"],
    }


def _within(low: int, high: int, whole: int, layer: int) -> tuple[int, int]:
    """A span of the whole picture in pixels of a layer, at least one pixel long."""
    start = min(layer - 1, round(Fraction(low * layer, whole)))
    return start, max(start + 1, min(layer, round(Fraction(high * layer, whole))))


def _region(picture: Size, text: str) -> Box:
    width, height = picture
    if text == "full":
        return 0, 0, width, height
    if text == "square":
        edge = min(picture)
        left, top = (width - edge) // 2, (height - edge) // 2
        return left, top, left + edge, top + edge
    if found := _PIXELS.fullmatch(text):
        x, y, across, down = (Fraction(part) for part in found.groups())
    elif found := _PERCENT.fullmatch(text):
        x, y, across, down = (
            Fraction(part) * edge / 100
            for part, edge in zip(found.groups(), (*picture, *picture), strict=True)
        )
    else:
        raise BadRequest(f"region {text[:40]!r}: full, square, x,y,w,h or pct:x,y,w,h")
    left, top = round(x), round(y)
    right, bottom = min(width, round(x + across)), min(height, round(y + down))
    if not (across and down and left < width and top < height):
        raise BadRequest(f"region {text[:40]!r} holds no pixel of this picture of {width} x {height}")
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _rotation(text: str) -> tuple[bool, int]:
    found = _ROTATION.fullmatch(text)
    if found is None or Fraction(found[2]) > 360:
        raise BadRequest(f"rotation {text[:40]!r}: degrees from 0 to 360, with ! to mirror first")
    degrees = Fraction(found[2])
    if degrees % 90:
        raise NotImplementedHere(f"rotation {text}: multiples of 90 degrees are offered")
    return bool(found[1]), int(degrees) % 360


def _size(region: Size, limits: Limits, text: str) -> Size:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise BadRequest(f"size {text[:40]!r}: max, w,h !w,h w, ,h or pct:n, with ^ to enlarge")
    enlarge, largest, percent, inside, across, down, only_width, only_height = found.groups()
    width, height = region
    if largest:
        whole = limits.largest(region)
        return whole if enlarge or whole[0] < width or whole[1] < height else region
    if inside:
        scale = min(Fraction(int(across), width), Fraction(int(down), height))
        if not enlarge:
            scale = min(scale, Fraction(1))
        size = _scaled(region, scale) if scale else (0, 0)
        size = size if limits.allow(size) else limits.largest(region)
    elif percent:
        scale = Fraction(percent) / 100
        size = _scaled(region, scale) if scale else (0, 0)
    elif only_width:
        size = int(only_width), _rounded(Fraction(height * int(only_width), width))
    elif only_height:
        size = _rounded(Fraction(width * int(only_height), height)), int(only_height)
    else:
        size = int(across), int(down)
    if not all(size):
        raise BadRequest(f"size {text[:40]!r} has no pixels")
    if not enlarge and (size[0] > width or size[1] > height):
        raise BadRequest(f"size {text[:40]!r} is more than the region's {width} x {height}: put ^ before it")
    if not limits.allow(size):
        raise BadRequest(f"size {text[:40]!r} is more than info.json, or twice the region, allows")
    return size


def _scaled(size: Size, scale: Fraction) -> Size:
    return _rounded(size[0] * scale), _rounded(size[1] * scale)


def _rounded(length: Fraction) -> int:
    return max(1, round(length))
