"""Which output format a client gets: ``Accept`` with its q-values (RFC 9110), or ``format=``."""

from collections.abc import Sequence

from service.errors import NotAcceptable

NAMED = ("avif", "webp", "jpeg", "png")
"""Order among formats that a client names with the same q: fewest bytes first."""
WILDCARD = ("jpeg", "webp", "png", "avif")
"""Order among formats that only a wildcard allows: what every program can read first."""


def accepted_format(accept: str | None, possible: Sequence[str], alpha: bool) -> str:
    """The best of the ``possible`` formats for an Accept header (None: anything).

    The highest q wins, but PNG, several times as large as the others, is taken only where nothing else will
    do: old browsers name it with a higher q than the JPEG that they can show as well. At one q a format that
    the client names comes before those that only a wildcard allows, and with ``alpha`` JPEG comes last. Where
    transparency would otherwise hang on a wildcard, a PNG that is named is surer.
    Raises NotAcceptable if the client accepts none of them.
    """
    ranges = _ranges(accept) if accept and accept.strip() else {"*/*": 1.0}
    wildcard = ranges.get("image/*", ranges.get("*/*", 0.0))
    weights = {name: ranges.get(f"image/{name}", wildcard) for name in possible}
    acceptable = [name for name in possible if weights[name] > 0]
    if not acceptable:
        raise NotAcceptable("offered: " + ", ".join(f"image/{name}" for name in possible))
    named = {name for name in acceptable if f"image/{name}" in ranges}

    def rank(name: str) -> tuple[float, bool, bool, int]:
        order = NAMED if name in named else WILDCARD
        return weights[name], not (alpha and name == "jpeg"), name in named, -order.index(name)

    others = [name for name in acceptable if name != "png"]
    best = max(others, key=rank, default="png")
    if alpha and "png" in acceptable:
        if best == "jpeg" and rank("png") > rank("jpeg"):
            return "png"
        if best not in named and "png" in named:
            return "png"
    return best


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
