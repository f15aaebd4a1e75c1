"""The one preferred query of an answer: many queries ask for the same picture, and caches go by the query."""

from collections.abc import Sequence
from urllib.parse import urlencode

from model.geometry import Size
from service.planning.sizing import Fit, View, Wanted, choose_view


def canonical_query(
    layers: Sequence[Size], view: View, output: str, quality: int | None, background: str | None
) -> str | None:
    """The preferred query for a view of a picture whose layers have these sizes, smallest first.

    ``output`` is its format; ``quality`` and ``background`` ("#rrggbb") stand in the query where they are not
    None. None if no query without ``dpr`` asks for exactly this view.
    """
    wanted = _wanted(layers, view)
    if wanted is None:
        return None
    pairs: list[tuple[str, object]] = []
    if wanted.width:
        pairs.append(("width", wanted.width))
    if wanted.height:
        pairs += [("height", wanted.height), ("fit", wanted.fit.value)]
    if wanted.upscale:
        pairs.append(("upscale", "true"))
    pairs.append(("format", output))
    if quality is not None:
        pairs.append(("q", quality))
    if background is not None:
        pairs.append(("background", background.removeprefix("#")))
    return urlencode(pairs)


def _wanted(layers: Sequence[Size], view: View) -> Wanted | None:
    """The simplest wish, in device pixels, that is answered with this view."""
    (height, width), picture = view.size, layers[-1]
    larger = width > picture.width or height > picture.height
    for wish in (
        Wanted(),
        Wanted(width=width, upscale=larger),
        Wanted(width=width, height=height, fit=Fit.FILL, upscale=larger),
        Wanted(width=width, height=height, fit=Fit.COVER, upscale=larger),
    ):
        if choose_view(layers, wish) == view:
            return wish
    return None
