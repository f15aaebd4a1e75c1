"""Names that follow from content: of uploads, pictures and streams."""

import json
import re
from collections.abc import Sequence
from hashlib import sha256

from model.stream.container import Header
from service.messages.plans import short

_ID = re.compile(r"[a-z2-7]{32}")


def upload_digest(data: bytes) -> bytes:
    """The SHA-256 of an upload. Takes seconds per gigabyte: not for the event loop."""
    return sha256(data).digest()


def picture_id(digest: bytes, quality: int, widths: Sequence[int], max_width: int | None) -> str:
    """32 characters (160 bits of SHA-256) that name an upload coded in one certain way.

    ``digest`` is the :func:`upload_digest` of its bytes, ``widths`` are layer widths in pixels. The
    weights do not matter: an id outlives them.
    """
    coding = json.dumps([quality, sorted(set(widths)), max_width])
    return short(sha256(digest + coding.encode()).digest())


def is_picture_id(text: str) -> bool:
    """Whether ``text`` could name a picture; anything else need not be looked up."""
    return _ID.fullmatch(text) is not None


def stream_name(header: Header) -> str:
    """32 characters that name a stream: the id of its weights and its checksums stand in the header."""
    return short(sha256(repr(header).encode()).digest())


def stream_tag(header: Header, layer: int) -> str:
    """The strong ETag of a stream up to ``layer``."""
    return f'"{stream_name(header)}-{layer}"'
