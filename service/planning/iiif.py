"""IIIF Image API 3.0: what its URLs mean, in pixels. Parsing and arithmetic only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from model.geometry import Box, Size, whole
from service.errors import BadRequest, NotImplementedHere
from service.planning.formats import MAX_OUTPUT_EDGE
from service.planning.plans import Finish
from service.planning.sizing import MAX_UPSCALE, View, choose

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
        return cls(MAX_UPSCALE * picture.width, MAX_UPSCALE * picture.height, area, enlargement)

    def within(self, region: Size) -> "Limits":
        """Those of a region of so many pixels."""
        width = min(self.width, self.enlargement * region.width)
        height = min(self.height, self.enlargement * region.height)
        return Limits(width, height, self.area, self.enlargement)

    def allow(self, size: Size) -> bool:
        """Whether an answer may have this size."""
        return size.width <= self.width and size.height <= self.height and size.area <= self.area

    def largest(self, region: Size) -> Size:
        """The largest size with the region's proportions."""
        scale = min(Fraction(self.width, region.width), Fraction(self.height, region.height))
        if region.area * scale**2 > self.area:
            scale = Fraction((self.area / region.area) ** 0.5)
        return Size(max(1, int(region.height * scale)), max(1, int(region.width * scale)))


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
        region, picture = self.region.size, layers[-1]
        across, down = Fraction(self.size.width, region.width), Fraction(self.size.height, region.height)
        scale = max(across, down) * _SLACK
        return choose(layers, Size(int(picture.height * scale), int(picture.width * scale)))

    def crop(self, picture: Size, layer: Size) -> Box | None:
        """The region in pixels of a layer; None for all of it."""
        if self.region == whole(picture):
            return None
        top, bottom = _within(*self.region.rows, picture.height, layer.height)
        left, right = _within(*self.region.columns, picture.width, layer.width)
        return Box(top, left, bottom, right)

    def canonical(self, picture: Size) -> str:
        """The one preferred path of this request, from the region on (section 4.7 of the standard)."""
        top, left = self.region.top, self.region.left
        height, width = self.region.size
        region = "full" if self.region == whole(picture) else f"{left},{top},{width},{height}"
        larger = self.size.width > width or self.size.height > height
        pixels = f"{'^' * larger}{self.size.width},{self.size.height}"
        size = "max" if self.size == self.region.size else pixels
        kind = next(name for name, known in FORMATS.items() if known == self.format)
        quality = "default" if self.quality == "color" else self.quality
        return f"{region}/{size}/{'!' * self.mirror}{self.rotation}/{quality}.{kind}"


def parse(picture: Size, limits: Limits, region: str, size: str, rotation: str, file: str) -> ImageRequest:
    """Understand the last four parts of an image URL of a picture.

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
    wanted = _size(box.size, limits.within(box.size), size)
    name = FORMATS[kind]
    if max(wanted) > MAX_OUTPUT_EDGE[name]:
        raise BadRequest(f"{name} has at most {MAX_OUTPUT_EDGE[name]} pixels per side")
    return ImageRequest(box, wanted, degrees, mirror, quality, name)


def information(base: str, layers: Sequence[Size], limits: Limits) -> dict[str, Any]:
    """The content of info.json; ``base`` is the picture's IIIF URL, ``layers`` sizes, smallest first."""
    picture = layers[-1]
    factors = [1]
    while max(picture) > TILE * factors[-1]:
        factors.append(2 * factors[-1])
    return {
        "@context": CONTEXT,
        "id": base,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": picture.width,
        "height": picture.height,
        "maxWidth": limits.width,
        "maxHeight": limits.height,
        "maxArea": limits.area,
        "sizes": [{"width": size.width, "height": size.height} for size in layers if limits.allow(size)],
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
    height, width = picture
    if text == "full":
        return whole(picture)
    if text == "square":
        edge = min(picture)
        top, left = (height - edge) // 2, (width - edge) // 2
        return Box(top, left, top + edge, left + edge)
    if found := _PIXELS.fullmatch(text):
        x, y, across, down = (Fraction(part) for part in found.groups())
    elif found := _PERCENT.fullmatch(text):
        x, y, across, down = (
            Fraction(part) * edge / 100
            for part, edge in zip(found.groups(), (width, height) * 2, strict=True)
        )
    else:
        raise BadRequest(f"region {text[:40]!r}: full, square, x,y,w,h or pct:x,y,w,h")
    if not (across and down and x < width and y < height):
        raise BadRequest(f"region {text[:40]!r} holds no pixel of this picture of {width} x {height}")
    left, top = min(width - 1, round(x)), min(height - 1, round(y))
    right, bottom = min(width, round(x + across)), min(height, round(y + down))
    return Box(top, left, max(bottom, top + 1), max(right, left + 1))


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
    height, width = region
    if largest:
        most = limits.largest(region)
        return most if enlarge or most.width < width or most.height < height else region
    if inside:
        scale = min(Fraction(int(across), width), Fraction(int(down), height))
        if not enlarge:
            scale = min(scale, Fraction(1))
        size = _scaled(region, scale) if scale else Size(0, 0)
        size = size if limits.allow(size) else limits.largest(region)
    elif percent:
        scale = Fraction(percent) / 100
        size = _scaled(region, scale) if scale else Size(0, 0)
    elif only_width:
        size = Size(_rounded(Fraction(height * int(only_width), width)), int(only_width))
    elif only_height:
        size = Size(int(only_height), _rounded(Fraction(width * int(only_height), height)))
    else:
        size = Size(int(down), int(across))
    if not all(size):
        raise BadRequest(f"size {text[:40]!r} has no pixels")
    if not enlarge and (size.width > width or size.height > height):
        raise BadRequest(f"size {text[:40]!r} is more than the region's {width} x {height}: put ^ before it")
    if not limits.allow(size):
        raise BadRequest(f"size {text[:40]!r} is more than info.json, or twice the region, allows")
    return size


def _scaled(size: Size, scale: Fraction) -> Size:
    return Size(_rounded(size.height * scale), _rounded(size.width * scale))


def _rounded(length: Fraction) -> int:
    return max(1, round(length))
