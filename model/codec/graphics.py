"""Graphics: pictures kept as one picture file instead of layers of the network. No torch, no weights.

Screenshots, drawings and text have sharp edges on flat ground. Formats with palettes, exact repetition and
prediction from whole areas keep those in a fraction of the bytes.
"""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import EncodeError, InvalidStream
from model.geometry import Size
from model.stream.container import Header, Kind, read_graphic, read_header, write_graphic
from model.stream.graphics import MAX_EDGE, MAX_PIXELS, check

Pixels = NDArray[np.uint8]
"""(height, width, 3), sRGB."""

FORMATS = {Kind.LOSSLESS: "webp", Kind.AVIF: "avif"}
"""What Pillow calls the files of graphics."""
LOSSLESS_QUALITY = 100
"""The quality that a graphic without loss has in its header."""

_LOSSLESS = [
    {"lossless": True, "method": method, "quality": effort}
    for method, effort in ((1, 100), (4, 75), (4, 100))
]
"""How a picture is tried without loss: flat drawings get smallest with the plainest method."""

BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    ZeroDivisionError, AttributeError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's readers raise on damaged files."""


def can_be_graphic(size: Size) -> bool:
    """Whether a picture of ``size`` pixels is small enough for a graphic."""
    return max(size) <= MAX_EDGE and size.area <= MAX_PIXELS


def encode_lossless(pixels: Pixels) -> bytes:
    """The stream of a picture (height, width, 3), kept exactly. Raises EncodeError."""
    tries = [_coded(Kind.LOSSLESS, pixels, LOSSLESS_QUALITY, options) for options in _LOSSLESS]
    stream = min(tries, key=len)
    if not np.array_equal(decode(stream), pixels):
        raise EncodeError("the lossless graphic does not decode to the pixels that were coded")
    return stream


def encode_avif(pixels: Pixels, quality: int, file_quality: int) -> bytes:
    """The stream of a picture (height, width, 3) as AVIF of ``file_quality``, 0-100, AVIF's own measure.

    ``quality``, 1-100, is the one that the stream's header tells. Takes 2 s or more of a core per megapixel:
    what AV1 has for screen content is not tried at higher speeds. Raises EncodeError.
    """
    options = {"quality": file_quality, "speed": 6, "subsampling": "4:4:4", "max_threads": 1}
    return _coded(Kind.AVIF, pixels, quality, options)


def _coded(kind: Kind, pixels: Pixels, quality: int, options: dict[str, Any]) -> bytes:
    size, out = Size(*pixels.shape[:2]), BytesIO()
    try:
        Image.fromarray(pixels).save(out, FORMATS[kind], **options)
        check(kind, out.getvalue(), size)
    except (OSError, ValueError, InvalidStream) as error:
        raise EncodeError(f"no {kind.word} graphic of {size} pixels: {error}") from error
    return write_graphic(kind, size, quality, out.getvalue())


def decode(stream: bytes, header: Header | None = None) -> Pixels:
    """The pixels (height, width, 3) of a graphic's stream. Raises a StreamError.

    ``header`` is the stream's own, where it has been read already.
    """
    header = header or read_header(stream)
    file = read_graphic(header, stream)
    (size,) = header.sizes
    check(header.kind, file, size)
    try:
        with Image.open(BytesIO(file), formats=(FORMATS[header.kind],)) as image:
            if (image.mode, image.size) != ("RGB", (size.width, size.height)):
                raise InvalidStream(f"the file of the {header.kind.word} graphic is another picture")
            return np.array(image)
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise InvalidStream(f"the {header.kind.word} graphic cannot be decoded: {error}") from error
