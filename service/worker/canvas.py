"""What is done to decoded pixels before they are written: cut out, resize, turn."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from model.geometry import Box, Size
from service.messages.plans import RenderPlan
from service.planning.sizing import MAX_UPSCALE

_TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns anticlockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}

Enlarge = Callable[[np.ndarray, Size], np.ndarray]
"""Makes RGB pixels (height, width, 3) larger: to a size of (width, height), at most MAX_UPSCALE times."""


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
        image.putalpha(alpha.crop((part.left, part.top, part.right, part.bottom)))
    left, top, right, bottom = plan.crop or (part.left, part.top, part.right, part.bottom)
    box = left - part.left, top - part.top, right - part.left, bottom - part.top
    width, height = box[2] - box[0], box[3] - box[1]
    if (width, height) == plan.size:
        return image if box == (0, 0, *image.size) else image.crop(box)
    smooth = image.resize(plan.size, Image.Resampling.LANCZOS, box=box)
    if not (width < plan.size[0] <= MAX_UPSCALE * width and height < plan.size[1] <= MAX_UPSCALE * height):
        return smooth
    small = np.asarray(image.convert("RGB").crop(box))
    large = Image.fromarray(enlarge(small, Size(plan.size[1], plan.size[0])))
    if plane is not None:
        large.putalpha(smooth.getchannel("A"))
    return large


def turned(image: Image.Image, plan: RenderPlan) -> Image.Image:
    """Mirror left to right, then turn clockwise, then take the colours out, as the plan says."""
    if plan.mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if plan.rotation:
        image = image.transpose(_TURNS[plan.rotation])
    if plan.bitonal:
        return image.convert("L").point(lambda value: 255 * (value >= 128))
    if plan.gray:
        image = image.convert("LA").convert("RGBA") if image.mode == "RGBA" else image.convert("L")
    return image
