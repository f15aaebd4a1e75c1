"""The formats that are read and written here, and their limits. Names only: no pixels, no Pillow."""

from importlib.util import find_spec

MEDIA_TYPES = {"avif": "image/avif", "webp": "image/webp", "jpeg": "image/jpeg", "png": "image/png"}
"""Output formats, best compression first."""
MAX_OUTPUT_EDGE = {"avif": 65535, "webp": 16383, "jpeg": 65500, "png": 65535}
"""The longest side that each output format can have, in pixels."""
ALPHA_FORMATS = ("avif", "webp", "png")
"""Output formats that keep transparency."""

_READABLE = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")


def readable_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that uploads may have; HEIF only where pillow-heif is installed."""
    return _READABLE if find_spec("pillow_heif") is None else (*_READABLE, "HEIF")
