"""The messages between the HTTP process and a worker: plain data, nothing else.

An upload goes in as the client's own bytes and comes back as a stream; a rendering goes in as a
stream prefix and comes back as an encoded picture. Pixels never cross the process boundary.
"""

from dataclasses import dataclass, field

from model.stream.ladder import Ladder
from service.messages.credits import NOBODY, Credits
from service.messages.plans import RenderPlan


@dataclass(frozen=True)
class Upload:
    """Code one uploaded picture with the layers of ``ladder``.

    ``key`` names the bytes of the upload: what a worker's death is blamed on. Of an animation the
    ``first_frame`` is taken, else it is refused; with ``credits`` its makers are told.
    """

    key: str
    data: bytes
    quality: int
    ladder: Ladder
    max_width: int | None = None
    first_frame: bool = False
    credits: bool = False

    @property
    def layer(self) -> int:
        """An upload is coded as a whole: 0."""
        return 0


@dataclass(frozen=True)
class Uploaded:
    """The stream of an upload, and what was learned while coding it.

    ``width`` and ``height`` after EXIF orientation; ``alpha`` holds one losslessly coded grey
    picture per layer where the source had transparency, else nothing; ``average`` is "#rrggbb".
    ``profile`` is the ICC profile of the stream's colours, nothing for sRGB; ``source_bits`` are those of a
    channel of the upload, 8 or 16.
    """

    stream: bytes
    width: int
    height: int
    source_format: str
    alpha: tuple[bytes, ...] = ()
    thumbhash: str = ""
    average: str = ""
    profile: bytes = b""
    source_bits: int = 8
    salient: tuple[float, float] | None = None
    credits: Credits = NOBODY
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Refine:
    """Search for a smaller stream of a stored picture: ``data`` is its upload, ``stream`` what is stored, and
    ``effort`` a name of :data:`model.codec.refine.EFFORTS`.

    ``key`` names the stream; ``keep_gamut`` tells that it is in the colours of the upload's own profile.
    """

    key: str
    data: bytes
    stream: bytes
    effort: str
    keep_gamut: bool = False

    @property
    def layer(self) -> int:
        """A picture is refined as a whole: 0."""
        return 0


@dataclass(frozen=True)
class Refined:
    """The smaller stream, empty if none was found, and the CPU seconds of the search."""

    stream: bytes
    seconds: float


@dataclass(frozen=True)
class Render:
    """Carry out a plan: ``stream`` is the prefix that holds its layer, ``alpha`` the layer's coded alpha
    plane, if the picture has any, ``profile`` the ICC profile of its colours, nothing for sRGB, ``credits``
    what the answer says of its makers.
    """

    plan: RenderPlan
    stream: bytes
    alpha: bytes | None = None
    profile: bytes = b""
    credits: Credits = NOBODY

    @property
    def key(self) -> str:
        """What a worker's death is blamed on, and whose decoded layers are used again: the plan's stream."""
        return self.plan.key

    @property
    def layer(self) -> int:
        """The layer that is decoded."""
        return self.plan.layer


@dataclass(frozen=True)
class Rendered:
    """An encoded picture; ``layers_decoded`` counts the layers that were really decoded, ``bytes_read`` what
    was read from the store for it.
    """

    body: bytes
    media_type: str
    width: int
    height: int
    layers_decoded: int
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_read: int = 0


@dataclass(frozen=True)
class Recode:
    """Code a stored picture anew, with this worker's weights: the same layers at the same quality.

    ``stream`` is what is stored; if ``data``, the picture's upload, is there, its header is enough, else all
    of it is needed, and its largest layer is coded. ``key`` names the stream; ``keep_gamut`` tells that it is
    in the colours of the upload's own profile.
    """

    key: str
    data: bytes
    stream: bytes
    keep_gamut: bool = False

    @property
    def layer(self) -> int:
        """A picture is coded as a whole: 0."""
        return 0


@dataclass(frozen=True)
class Recoded:
    """The new stream, and the CPU seconds that it took."""

    stream: bytes
    seconds: float


Job = Upload | Render | Refine | Recode
Result = Uploaded | Rendered | Refined | Recoded
