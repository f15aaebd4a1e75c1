"""Names that follow from content: picture ids and entity tags."""

import base64
import json
import re
from collections.abc import Sequence
from hashlib import sha256

from model.stream.container import Header
from service.messages.jobs import Render

_ID = re.compile(r"[a-z2-7]{32}")


def picture_id(
    data: bytes, model_id: bytes, quality: int, widths: Sequence[int], max_width: int | None
) -> str:
    """32 characters (160 bits of SHA-256) that name an upload coded in one certain way."""
    coding = json.dumps([model_id.hex(), quality, sorted(set(widths)), max_width])
    return _short(sha256(sha256(data).digest() + coding.encode()).digest())


def is_picture_id(text: str) -> bool:
    """Whether ``text`` could name a picture; anything else need not be looked up."""
    return _ID.fullmatch(text) is not None


def entity_tag(job: Render, model_id: bytes) -> str:
    """The weak ETag of a rendering: it follows from the job's parameters, not from its pixels."""
    parameters = {name: value for name, value in vars(job).items() if name not in ("stream", "alpha")}
    return f'W/"{_short(sha256(model_id + json.dumps(parameters).encode()).digest())}"'


def stream_tag(header: Header, layer: int) -> str:
    """The strong ETag of a stream up to ``layer``: its checksums stand in the header."""
    return f'"{_short(sha256(repr(header).encode()).digest())}-{layer}"'


def _short(digest: bytes) -> str:
    return base64.b32encode(digest[:20]).decode().lower()
