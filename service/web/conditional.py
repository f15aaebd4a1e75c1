"""Conditional and partial requests (RFC 9110): If-None-Match, Range, If-Range."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*")


def matches(etag: str, if_none_match: str | None) -> bool:
    """Whether If-None-Match holds the tag (compared weakly) or ``*``."""
    if if_none_match is None:
        return False
    given = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in given or etag.removeprefix("W/") in given


class Unsatisfiable(Exception):
    """The range lies beyond the end: status 416."""


@dataclass(frozen=True)
class Span:
    """Bytes ``start`` up to, but not including, ``end``."""

    start: int
    end: int


def requested_span(size: int, etag: str, range_header: str | None, if_range: str | None) -> Span | None:
    """The span of a ``size``-byte body that a Range header asks for; None: the whole of it.

    Malformed and multiple ranges are ignored, as RFC 9110 allows. ``If-Range`` is compared
    strongly. Raises Unsatisfiable.
    """
    found = _RANGE.fullmatch(range_header or "")
    if found is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        if int(last) == 0:
            raise Unsatisfiable
        return Span(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return Span(int(first), min(size, int(last) + 1) if last else size)
