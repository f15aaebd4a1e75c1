"""What exactly is made of a stored picture: complete in every parameter, without any of its bytes."""

import base64
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256

from model.geometry import Box, Size

WHITE = "#ffffff"


@dataclass(frozen=True)
class RenderPlan:
    """Decode ``layer`` of a picture and write it as an ordinary picture.

    ``picture`` is the picture's id, and ``stream`` names the bytes that are stored under it. ``crop``, in
    layer pixels, is cut out first, then the result is resized to ``size``, then mirrored left to right and
    turned clockwise by ``rotation`` degrees, a multiple of 90.
    ``format`` is a name of :data:`service.planning.formats.MEDIA_TYPES` and ``quality``, 1-100, is that
    format's own; ``background`` is the "#rrggbb" under transparency for formats without it.
    """

    picture: str
    stream: str
    layer: int
    size: Size
    format: str
    quality: int
    crop: Box | None = None
    rotation: int = 0
    mirror: bool = False
    gray: bool = False
    bitonal: bool = False
    background: str = WHITE

    @property
    def key(self) -> str:
        """The picture as it is stored now: another stream under the same id is another thing to decode."""
        return f"{self.picture} {self.stream}"

    @cached_property
    def entity_tag(self) -> str:
        """The weak ETag of the rendering: it follows from the plan, not from the pixels.

        Clients hold it for years, so what it is made of has the form of its first day: widths before heights.
        """
        size, crop = (self.size.width, self.size.height), self.crop and self.crop.edges
        content = json.dumps(asdict(self) | {"size": size, "crop": crop})
        return f'W/"{short(sha256(content.encode()).digest())}"'


def picture_of(key: str) -> str:
    """The id of the picture that the key of a plan names."""
    return key.partition(" ")[0]


def short(digest: bytes) -> str:
    """The first 160 bits of a digest as 32 small letters and digits."""
    return base64.b32encode(digest[:20]).decode().lower()
