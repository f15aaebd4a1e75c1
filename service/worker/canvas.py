"""What is done to decoded pixels before they are written: cut out, resize, turn."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from model.geometry import Box, Size
from service.messages.plans import RenderPlan
from service.planning.sizing import can_enlarge
from service.worker.transparency import flattened

_TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns anticlockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}

Enlarge = Callable[[np.ndarray, Size], np.ndarray]
"""Makes RGB pixels (height, width, 3) larger: to a size that :func:`can_enlarge` allows."""


def resized(
    image: Image.Image, part: Box, plan: RenderPlan, plane: bytes | None, enlarge: Enlarge
) -> Image.Image:
    """Cut out and resize: antialiased downwards, by ``enlarge`` upwards (up to MAX_UPSCALE).

    ``image`` is the ``part`` of the layer that was decoded, ``plane`` the whole layer's coded alpha plane.
    What is wanted is cut out before it is enlarged, so that the work is for the answer's pixels alone,
    and does not see beyond their edges.
    """
    if plane is not None:
        alpha = Image.open(BytesIO(plane), formats=("PNG",))
        image.putalpha(alpha.crop(part.edges))
    shown = plan.crop or part
    box = shown.shifted(-part.top, -part.left).edges
    if shown.size == plan.size:
        return image if shown == part else image.crop(box)
    smooth = image.resize((plan.size.width, plan.size.height), Image.Resampling.LANCZOS, box=box)
    if not can_enlarge(shown.size, plan.size):
        return smooth
    small = np.asarray(image.convert("RGB").crop(box))
    large = Image.fromarray(enlarge(small, plan.size))
    if plane is not None:
        large.putalpha(smooth.getchannel("A"))
    return large


def turned(image: Image.Image, plan: RenderPlan) -> Image.Image:
    """Mirror left to right, then turn clockwise, then take the colours out, as the plan says. Black and white
    is made of what is seen on the plan's background, and has no transparency."""
    if plan.mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if plan.rotation:
        image = image.transpose(_TURNS[plan.rotation])
    if plan.bitonal:
        return flattened(image, plan.background).convert("L").point(lambda value: 255 * (value >= 128))
    if plan.gray:
        image = image.convert("LA").convert("RGBA") if image.mode == "RGBA" else image.convert("L")
    return image
