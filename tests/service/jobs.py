"""Jobs made by hand, for tests that need no picture in a store."""

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
    """A rendering of a stream that no model is named for."""
    return Render(RenderPlan(key, "stream", layer, size, output, quality, crop), stream, alpha)
