"""Which names a query may have: those that its route knows, each of them once."""

from collections import Counter
from collections.abc import Collection
from difflib import get_close_matches
from urllib.parse import parse_qsl

from service.errors import BadParameter

_SHOWN = 5
"""So many wrong names are told at most."""
_LENGTH = 40
"""So many characters of each."""


def check_query(query: str, known: Collection[str]) -> None:
    """Raise BadParameter if a query string has a name that is not ``known``, or one twice.

    An ignored ``widht=500`` would be answered with the whole picture, and caches would keep that for a year.
    """
    counts = Counter(name for name, _ in parse_qsl(query, keep_blank_values=True))
    wrong = [_unknown(name, known) for name in counts if name not in known]
    wrong += [f"{name}: given {count} times" for name, count in counts.items() if name in known and count > 1]
    if wrong:
        more = len(wrong) - _SHOWN
        raise BadParameter("; ".join(wrong[:_SHOWN]) + (f"; and {more} more" if more > 0 else ""))


def _unknown(name: str, known: Collection[str]) -> str:
    short = name[:_LENGTH]
    similar = get_close_matches(short.lower(), known, 1)
    if similar:
        return f"{short}: no parameter of this URL; {similar[0]} is"
    return f"{short}: no parameter of this URL"
