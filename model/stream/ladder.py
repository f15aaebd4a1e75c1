"""Which layers a picture gets: the ladder of sizes in one stream. No torch."""

from collections.abc import Sequence

from model.stream.container import MAX_LAYERS

MIN_STEP = 1.3
"""A layer is left out if the next larger one is less than this factor wider: decoding both would
take nearly twice the time of the larger one, which serves the smaller width as well."""

Size = tuple[int, int]


def layer_sizes(size: Size, widths: Sequence[int]) -> list[Size]:
    """Sizes (width, height) of the layers, smallest first; the last is ``size`` itself.

    ``size`` is the picture's (width, height) in pixels, ``widths`` the wanted layer widths in
    any order: those not smaller than the picture are ignored, and so are those too close to
    the next larger layer. Heights keep the aspect ratio, at least 1. At most 16 layers.

    Raises ValueError for a size or width below 1.
    """
    width, height = size
    if width < 1 or height < 1 or any(w < 1 for w in widths):
        raise ValueError("sizes and widths are at least 1")
    sizes = [size]
    for w in sorted(set(widths), reverse=True):
        if w * MIN_STEP <= sizes[-1][0] and len(sizes) < MAX_LAYERS:
            sizes.append((w, max(1, round(height * w / width))))
    return sizes[::-1]
