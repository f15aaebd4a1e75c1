"""What a job costs, before it is begun, in pixels to decode: the measure of lanes, deadlines and waiting.

The weights were measured with ``lite`` on one core of an EPYC, on 1600 x 1200 pixels: to decode a megapixel
takes 0.46 s, to code it 1.04 s, to enlarge it 0.24 s, to write it as PNG 0.21 s, WebP 0.08 s, AVIF 0.05 s,
JPEG 0.01 s; grain makes writing dearer.
"""

from collections.abc import Sequence

from model.geometry import Size
from service.messages.plans import RenderPlan
from service.planning.announced import announced_pixels
from service.planning.sizing import can_enlarge, decoding_cost

CODING = 2.3
"""Of every pixel of an upload, as its header tells them."""
BASE = 50_000.0
"""Of every job, however small."""
RESIZING = 0.03
"""Of every pixel of an answer that is resized."""
ENLARGING = 0.6
"""Of every pixel that the network enlarges."""
WRITING = {"png": 0.6, "webp": 0.25, "avif": 0.2, "jpeg": 0.05}
"""Of every pixel of an answer, by its format."""


def upload_cost(data: bytes) -> float:
    """The cost of coding an upload: of its pixels, which its header tells, and of reading its bytes."""
    return BASE + CODING * announced_pixels(data) + len(data)


def rendering_cost(layers: Sequence[Size], plan: RenderPlan) -> float:
    """The cost of a plan: of decoding, of resizing and of writing; ``layers`` are sizes, smallest first."""
    shown = plan.crop.size if plan.crop else layers[plan.layer]
    cost = WRITING[plan.format]
    if can_enlarge(shown, plan.size):
        cost += ENLARGING
    elif shown != plan.size:
        cost += RESIZING
    return BASE + decoding_cost(layers, plan.layer, plan.crop) + cost * plan.size.area
