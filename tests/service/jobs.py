"""Jobs made by hand, for tests that need no picture in a store."""

from model.geometry import Box, Size
from service.messages.jobs import Render
from service.messages.plans import RenderPlan


def rendering(
    key: str,
    stream: bytes,
    layer: int,
    size: tuple[int, int],
    output: str = "png",
    quality: int = 100,
    crop: tuple[int, int, int, int] | None = None,
    alpha: bytes | None = None,
) -> Render:
    """A rendering of a stream that no model is named for; ``size`` and ``crop`` as Pillow has them."""
    part = Box(crop[1], crop[0], crop[3], crop[2]) if crop else None
    plan = RenderPlan(key, "stream", layer, Size(size[1], size[0]), output, quality, part)
    return Render(plan, stream, alpha)
