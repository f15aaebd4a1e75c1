"""What lies beside a stream: the names of its keys, its facts as JSON, and their checks."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal
from zlib import crc32

from pydantic import ConfigDict, Field, TypeAdapter

from model.errors import StreamError, UnsupportedVersion
from model.stream.container import MAX_EDGE, MAX_LAYERS, Header, read_header
from service.errors import DamagedStream, Expired, NotFound, UnknownFormat
from service.messages.credits import NOBODY, Credits

Time = Annotated[float, Field(ge=0, lt=1e11)]
"""Seconds since 1970: the listing has room for those of 3,000 years."""

MOST_NAME = 200
"""Characters of a picture's name."""
Share = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Share, Share]
"""Shares of width and height, from the upper left corner."""

_PICTURE = rb"[a-z2-7]{32}"
_ENTRY = re.compile(rb"[0-9]{14}:" + _PICTURE)
_KEY = re.compile(rb"\{(" + _PICTURE + rb")\}:stream")
_ORIGINAL = re.compile(rb"\{(" + _PICTURE + rb")\}:original")
_CHECKSUM = "crc"
"""The field of the stored facts that checks the others."""
_LATER = ("refined", "original", "cold", "name", "focus", "salient", "credits")
"""Facts that came later than the others."""


Effort = Literal["fast", "best"]
"""How much was searched for a smaller stream."""


@dataclass(frozen=True)
class Refinement:
    """A search for a smaller stream: its effort, and the bytes that were stored before the first one."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    effort: Effort
    before_bytes: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Cold:
    """The end of a stream that lies in the cold tier: the byte of the stream that it begins with, its token
    there, and its SHA-256 in hexadecimal.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    start: Annotated[int, Field(ge=1)]
    token: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Facts:
    """What is stored beside a stream; times in seconds since 1970.

    ``refined`` is None where nobody has searched for a smaller stream. ``alpha`` is the length of each alpha
    plane in bytes and ``alpha_crcs`` its CRC-32. Pictures stored before there were any have none, and their
    planes are checked by length alone. ``widths`` are those that are offered of a graphic, which has one
    layer, in pixels, smallest first. ``profile`` is the ICC profile of the stream's colours in base64, empty
    for sRGB. ``source_bits`` are those of a channel of the upload. ``original`` is the SHA-256 of the upload,
    in hexadecimal, where it is kept (:mod:`service.storage.originals`), else empty. ``cold`` tells of what
    lies in the cold tier (:mod:`service.storage.cold`), None if all layers are in Redis. ``name`` is for
    people. ``focus`` is the point that ``fit=cover`` keeps in sight, "auto" for ``salient``, where the
    picture catches the eye; None: the middle. ``credits`` are those that answers give back.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    created: Time
    source_bytes: Annotated[int, Field(ge=0)]
    source_format: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{0,16}$")]
    quality: Annotated[int, Field(ge=1, le=100)]
    alpha: tuple[Annotated[int, Field(ge=1)], ...] = ()
    thumbhash: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]{0,64}$")] = ""
    average: Annotated[str, Field(pattern=r"^(#[0-9a-f]{6})?$")] = ""
    expires: Time | None = None
    alpha_crcs: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = ()
    source_bits: Annotated[int, Field(ge=8, le=16)] = 8
    refined: Refinement | None = None
    widths: tuple[Annotated[int, Field(ge=1, le=MAX_EDGE)], ...] = ()
    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=8192)] = ""
    original: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    cold: Cold | None = None
    name: Annotated[str, Field(max_length=MOST_NAME)] = ""
    focus: Point | Literal["auto"] | None = None
    salient: Point | None = None
    credits: Credits = NOBODY


_FACTS = TypeAdapter(Facts)


@dataclass(frozen=True)
class Record:
    """A stored picture without its pixels."""

    id: str
    header: Header
    facts: Facts

    @property
    def bytes(self) -> int:
        """Bytes of the stream and the alpha planes."""
        return self.header.total + sum(self.facts.alpha)

    @property
    def widths(self) -> Sequence[int]:
        """The widths that it is offered at, in pixels: its layers', or those that a graphic would have."""
        return self.facts.widths or [layer.width for layer in self.header.layers]

    @property
    def index_entry(self) -> str:
        """Its entry in the listing: sorts by age."""
        return index_entry(self.id, self.facts)


def expired(facts: Facts) -> bool:
    return facts.expires is not None and facts.expires <= time.time()


def later(one: float | None, other: float | None) -> float | None:
    """The later end of two lives; None, for ever, is later than all others."""
    return None if one is None or other is None else max(one, other)


def index_entry(picture: str, facts: Facts) -> str:
    return f"{round(facts.created * 1000):014d}:{picture}"


def is_index_entry(entry: bytes) -> bool:
    """Whether it may be an entry of the listing, and not something that another has put there."""
    return _ENTRY.fullmatch(entry) is not None


def picture_of(entry: bytes) -> str:
    """The picture that an entry of the listing names, which may be nonsense."""
    return entry.partition(b":")[2].decode("latin-1")


def picture_of_key(key: bytes) -> str | None:
    """The picture whose stream a key names; None if it is no such key."""
    found = _KEY.fullmatch(key)
    return found[1].decode() if found else None


def picture_of_original(key: bytes) -> str | None:
    """The picture whose upload a key names; None if it is no such key."""
    found = _ORIGINAL.fullmatch(key)
    return found[1].decode() if found else None


def assemble(picture: str, facts: bytes, start: bytes) -> Record:
    """A record out of the stored facts and the stream's first bytes.

    Raises NotFound, Expired, DamagedStream or UnknownFormat.
    """
    if not facts and not start:
        raise NotFound(f"no picture {picture}")
    try:
        record = Record(picture, read_header(start), parse_facts(facts))
    except UnsupportedVersion as error:  # whole, for a program of another version
        raise UnknownFormat(f"picture {picture}: {error}; upload it again") from error
    except StreamError as error:
        raise DamagedStream(f"the stored stream of {picture}: {error}") from error
    if record.facts.alpha and len(record.facts.alpha) != len(record.header.layers):
        raise DamagedStream(f"the stored facts of {picture} do not fit its stream")
    cold = record.facts.cold
    if cold is not None and cold.start not in [layer.end for layer in record.header.layers[:-1]]:
        raise DamagedStream(f"the stored facts of {picture} do not fit its stream")
    if expired(record.facts):
        raise Expired(f"no picture {picture}")
    return record


def check_alpha(record: Record, layer: int, data: bytes) -> None:
    """Raise DamagedStream if ``data`` is not the alpha plane of this layer."""
    if len(data) != record.facts.alpha[layer]:
        raise DamagedStream(f"the alpha plane {layer} of {record.id} has the wrong length")
    if record.facts.alpha_crcs and crc32(data) != record.facts.alpha_crcs[layer]:
        raise DamagedStream(f"the alpha plane {layer} of {record.id} does not fit its checksum")


def check_cold(record: Record, stream: bytes) -> None:
    """Raise DamagedStream if the end of a whole stream is not what was moved to the cold tier."""
    cold = record.facts.cold
    if cold is not None and sha256(stream[cold.start :]).hexdigest() != cold.digest:
        raise DamagedStream(f"the large layers of {record.id} do not fit their checksum")


def write_facts(facts: Facts) -> str:
    """Facts as JSON, with their own CRC-32 as ``crc``. What earlier versions do not know is named only where
    there is any, so that they can read the others.
    """
    values = asdict(facts)
    for name in _LATER:
        if not getattr(facts, name):
            del values[name]
    return json.dumps({**values, _CHECKSUM: _crc(values)})


def parse_facts(text: bytes) -> Facts:
    """Facts out of their JSON, types and checksum verified. Raises DamagedStream.

    What was stored before facts had a checksum has none, and its types alone are verified.
    """
    try:
        values = json.loads(text)
        crc = values.pop(_CHECKSUM, None)
        facts = _FACTS.validate_json(json.dumps(values))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedStream("the stored facts of the picture are damaged") from error
    if crc is not None and crc != _crc(values):
        raise DamagedStream("the stored facts of the picture do not fit their checksum")
    if facts.alpha_crcs and len(facts.alpha_crcs) != len(facts.alpha):
        raise DamagedStream("the stored facts of the picture contradict one another")
    return facts


def _crc(values: dict[str, Any]) -> int:
    """The CRC-32 of facts as they are read from JSON, whatever their order and spaces."""
    return crc32(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def stream_key(picture: str) -> str:
    return f"{{{picture}}}:stream"


def facts_key(picture: str) -> str:
    return f"{{{picture}}}:facts"


def original_key(picture: str) -> str:
    return f"{{{picture}}}:original"


def alpha_key(picture: str, layer: int) -> str:
    return f"{{{picture}}}:alpha:{layer}"


def alpha_keys(picture: str) -> list[str]:
    """The keys of all alpha planes that a picture may have."""
    return [alpha_key(picture, k) for k in range(MAX_LAYERS)]


def all_keys(picture: str) -> list[str]:
    """All keys that a picture may have, its upload's apart."""
    return [stream_key(picture), facts_key(picture), *alpha_keys(picture)]
