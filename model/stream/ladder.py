"""Which layers a picture gets: the ladder of sizes in one stream. No torch."""

from dataclasses import dataclass

from model.geometry import Size
from model.stream.container import MAX_LAYERS

MIN_STEP = 1.3
"""A layer is left out if the next larger one is less than this factor wider: decoding both would
take nearly twice the time of the larger one, which serves the smaller width as well."""


@dataclass(frozen=True)
class Ladder:
    """The wanted layers of pictures of any size.

    ``widths`` are the wanted widths of layers in pixels, in any order. A picture narrower than
    ``single_below`` pixels has one layer, whatever they are: there a second one costs more bytes than
    the decoding of the whole picture is worth.
    """

    widths: tuple[int, ...]
    single_below: int = 0

    def sizes(self, size: Size) -> list[Size]:
        """The sizes of a picture's layers, smallest first; the last is ``size`` itself, the picture's.

        A width is left out if it is not smaller than the picture's, or too close to the next larger
        layer's (``MIN_STEP``). Heights keep the aspect ratio and are at least 1. There are at most 16
        layers. Raises ValueError for a size or width below 1.
        """
        if min(size) < 1 or any(width < 1 for width in self.widths):
            raise ValueError("sizes and widths are at least 1")
        sizes = [size]
        widths = self.widths if size.width >= self.single_below else ()
        for width in sorted(set(widths), reverse=True):
            if width * MIN_STEP <= sizes[-1].width and len(sizes) < MAX_LAYERS:
                sizes.append(Size(max(1, round(size.height * width / size.width)), width))
        return sizes[::-1]
