"""What exactly is made of a stored picture: complete in every parameter, without any of its bytes."""

import base64
import json
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256

WHITE = "#ffffff"


@dataclass(frozen=True)
class RenderPlan:
    """Decode ``layer`` of a picture and write it as an ordinary picture.

    ``picture`` is the picture's id and ``model`` the id of its weights in hexadecimal digits. ``crop``
    (left, top, right, bottom) in layer pixels is cut out first, then the result is resized to ``size``
    (width, height), then mirrored left to right and turned clockwise by ``rotation`` degrees, a multiple
    of 90. ``format`` is a name of :data:`service.planning.formats.MEDIA_TYPES` and ``quality``, 1-100,
    is that format's own; ``background`` is the "#rrggbb" under transparency for formats without it.
    """

    picture: str
    model: str
    layer: int
    size: tuple[int, int]
    format: str
    quality: int
    crop: tuple[int, int, int, int] | None = None
    rotation: int = 0
    mirror: bool = False
    gray: bool = False
    bitonal: bool = False
    background: str = WHITE

    @cached_property
    def entity_tag(self) -> str:
        """The weak ETag of the rendering: it follows from the plan, not from the pixels."""
        parameters = {field.name: getattr(self, field.name) for field in fields(self)}
        del parameters["model"]
        named = {"key": parameters.pop("picture"), **parameters}  # as tags that clients hold were made
        return f'W/"{short(sha256(bytes.fromhex(self.model) + json.dumps(named).encode()).digest())}"'


def short(digest: bytes) -> str:
    """The first 160 bits of a digest as 32 small letters and digits."""
    return base64.b32encode(digest[:20]).decode().lower()
