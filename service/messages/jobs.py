"""The messages between the HTTP process and a worker: plain data, nothing else.

An upload goes in as the client's own bytes and comes back as a stream; a rendering goes in as a
stream prefix and comes back as an encoded picture. Pixels never cross the process boundary.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Upload:
    """Code one uploaded picture; ``widths`` are the wanted layer widths in pixels."""

    data: bytes
    quality: int
    widths: tuple[int, ...]
    max_width: int | None = None


@dataclass(frozen=True)
class Uploaded:
    """The stream of an upload, and what was learned while coding it.

    ``width`` and ``height`` after EXIF orientation; ``alpha`` holds one losslessly coded grey
    picture a layer where the source had transparency, else nothing; ``average`` is "#rrggbb".
    """

    stream: bytes
    width: int
    height: int
    source_format: str
    alpha: tuple[bytes, ...] = ()
    thumbhash: str = ""
    average: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Render:
    """Decode ``layer`` from a stream prefix and write it as an ordinary picture.

    ``crop`` (left, top, right, bottom) in layer pixels is cut out first, then the
    result is resized to ``size`` (width, height), then mirrored left to right and turned clockwise by
    ``rotation`` degrees, a multiple of 90. ``format`` is "avif", "webp", "jpeg" or "png";
    ``quality`` 1-100 is that format's own; ``alpha`` is the layer's coded alpha plane, if any;
    ``background`` is the "#rrggbb" under transparency for formats without it. ``key`` names the
    picture, for reuse of decoded layers.
    """

    key: str
    stream: bytes
    layer: int
    size: tuple[int, int]
    format: str
    quality: int
    crop: tuple[int, int, int, int] | None = None
    rotation: int = 0
    mirror: bool = False
    gray: bool = False
    bitonal: bool = False
    alpha: bytes | None = None
    background: str = "#ffffff"


@dataclass(frozen=True)
class Rendered:
    """An encoded picture; ``layers_decoded`` counts the layers that were really decoded."""

    body: bytes
    media_type: str
    width: int
    height: int
    layers_decoded: int
    seconds: dict[str, float] = field(default_factory=dict)
