"""The one place where plans of renderings are made, whatever asked for them."""

from dataclasses import dataclass

from model.stream.container import Header
from service.messages.plans import WHITE, RenderPlan
from service.planning.identity import stream_name
from service.planning.sizing import View


@dataclass(frozen=True)
class Finish:
    """What is done to the pixels of a view before they are written: see :class:`RenderPlan`."""

    rotation: int = 0
    mirror: bool = False
    gray: bool = False
    bitonal: bool = False
    background: str = WHITE


PLAIN = Finish()
"""Nothing is done to them."""


def make_plan(
    picture: str, header: Header, view: View, output: str, quality: int, finish: Finish = PLAIN
) -> RenderPlan:
    """The plan of a view of the stream with this header.

    ``picture`` is its id; ``output`` is a name of :data:`service.planning.formats.MEDIA_TYPES`,
    ``quality`` 1-100.
    """
    return RenderPlan(
        picture=picture,
        stream=stream_name(header),
        layer=view.layer,
        size=view.size,
        format=output,
        quality=quality,
        crop=view.crop,
        rotation=finish.rotation,
        mirror=finish.mirror,
        gray=finish.gray,
        bitonal=finish.bitonal,
        background=finish.background,
    )
