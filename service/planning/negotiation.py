"""Which output format a client gets: ``Accept`` with its q-values (RFC 9110), or ``format=``."""

from collections.abc import Sequence

from service.errors import NotAcceptable

NAMED = ("avif", "webp", "jpeg", "png")
"""Order among formats that a client names with the same q: fewest bytes first."""
WILDCARD = ("jpeg", "webp", "png", "avif")
"""Order among formats that only a wildcard allows: what every program can read first."""


def accepted_format(accept: str | None, possible: Sequence[str], alpha: bool) -> str:
    """The best of the ``possible`` formats for an Accept header (None: anything).

    A format named by the client wins over one that only a wildcard allows at the same q.
    With ``alpha``, formats that keep transparency come before JPEG at the same q.
    Raises NotAcceptable if the client accepts none of them.
    """
    ranges = _ranges(accept) if accept and accept.strip() else {"*/*": 1.0}
    best: tuple[float, bool, bool, int] | None = None
    choice = ""
    for name in possible:
        exact = ranges.get(f"image/{name}")
        q = exact if exact is not None else ranges.get("image/*", ranges.get("*/*", 0.0))
        order = NAMED if exact is not None else WILDCARD
        rank = (q, not (alpha and name == "jpeg"), exact is not None, -order.index(name))
        if q > 0 and (best is None or rank > best):
            best, choice = rank, name
    if not choice:
        raise NotAcceptable("offered: " + ", ".join(f"image/{name}" for name in possible))
    return choice


def _ranges(accept: str) -> dict[str, float]:
    """Media ranges and their q; malformed q-values count as 0, other parameters are ignored."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if not media:
            continue
        q = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                q = _quality(value.strip())
        found["image/jpeg" if media == "image/jpg" else media] = q
    return found


def _quality(text: str) -> float:
    try:
        q = float(text)
    except ValueError:
        return 0.0
    return q if 0 <= q <= 1 else 0.0
