"""The one preferred query of an answer: many queries ask for the same picture, and caches go by the query."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlencode

from model.geometry import Size
from service.planning.sizing import Fit, View, Wanted, choose_view

Focus = tuple[float, float] | None


def canonical_query(
    layers: Sequence[Size],
    view: View,
    output: str,
    quality: int | None,
    background: str | None,
    usual: Focus = None,
    focus: Focus = None,
) -> str | None:
    """The preferred query for a view of a picture whose layers have these sizes, smallest first.

    ``output`` is its format; ``quality`` and ``background`` ("#rrggbb") stand in the query where they are not
    None.

    ``usual`` is the focus that the picture has where none is asked for, ``focus`` the one that was. None if
    no query without ``dpr`` asks for exactly this view.
    """
    wanted = _wanted(layers, view, usual, focus)
    if wanted is None:
        return None
    pairs: list[tuple[str, object]] = []
    if wanted.width:
        pairs.append(("width", wanted.width))
    if wanted.height:
        pairs += [("height", wanted.height), ("fit", wanted.fit.value)]
    if wanted.fit is Fit.COVER and wanted.focus != usual and wanted.focus is not None:
        pairs.append(("focus", ",".join(f"{share:g}" for share in wanted.focus)))
    if wanted.upscale:
        pairs.append(("upscale", "true"))
    pairs.append(("format", output))
    if quality is not None:
        pairs.append(("q", quality))
    if background is not None:
        pairs.append(("background", background.removeprefix("#")))
    return urlencode(pairs)


def _wanted(layers: Sequence[Size], view: View, usual: Focus, focus: Focus) -> Wanted | None:
    """The simplest wish, in device pixels, that is answered with this view."""
    (height, width), picture = view.size, layers[-1]
    larger = width > picture.width or height > picture.height
    covered = Wanted(width=width, height=height, fit=Fit.COVER, upscale=larger)
    for wish in (
        Wanted(),
        Wanted(width=width, upscale=larger),
        Wanted(width=width, height=height, fit=Fit.FILL, upscale=larger),
        *(replace(covered, focus=one) for one in (usual, focus)),
    ):
        if choose_view(layers, wish) == view:
            return wish
    return None
