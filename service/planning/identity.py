"""Names that follow from content: of uploads, pictures and streams."""

import json
import re
from collections.abc import Mapping
from hashlib import sha256

from model.stream.container import Header
from model.stream.ladder import Ladder
from service.messages.plans import short

_ID = re.compile(r"[a-z2-7]{32}")


def upload_digest(data: bytes) -> bytes:
    """The SHA-256 of an upload. Takes seconds per gigabyte: not for the event loop."""
    return sha256(data).digest()


def picture_id(
    digest: bytes,
    quality: int,
    ladder: Ladder,
    max_width: int | None,
    kept: Mapping[str, object] | None = None,
) -> str:
    """32 characters (160 bits of SHA-256) that name an upload coded in one certain way.

    ``kept`` is what was wished for beside its pixels, if anything.
    ``digest`` is the :func:`upload_digest` of its bytes. The weights do not matter: an id outlives them.
    """
    coding: list[object] = [quality, sorted(set(ladder.widths)), max_width]
    if ladder.single_below:
        coding.append(ladder.single_below)
    if kept:
        coding.append(dict(sorted(kept.items())))
    return short(sha256(digest + json.dumps(coding).encode()).digest())


def is_picture_id(text: str) -> bool:
    """Whether ``text`` could name a picture; anything else need not be looked up."""
    return _ID.fullmatch(text) is not None


def stream_name(header: Header) -> str:
    """32 characters that name a stream: the id of its weights and its checksums stand in the header."""
    return short(sha256(repr(header).encode()).digest())


def stream_tag(header: Header, layer: int) -> str:
    """The strong ETag of a stream up to ``layer``."""
    return f'"{stream_name(header)}-{layer}"'
