"""Where pictures catch the eye: the point follows what stands out."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.worker.saliency import salient_point


def scene(size: tuple[int, int], at: tuple[float, float]) -> Image.Image:
    """A red ball over grass, with grain."""
    random = np.random.default_rng(3)
    width, height = size
    grain = random.normal(0, 6, (height, width, 1)) + np.array([70, 120, 60])
    image = Image.fromarray(grain.clip(0, 255).astype(np.uint8))
    x, y, radius = at[0] * width, at[1] * height, 0.08 * min(size)
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(210, 40, 30))
    return image


@pytest.mark.parametrize("size", [(600, 400), (400, 600), (90, 60)])
@pytest.mark.parametrize("at", [(0.25, 0.3), (0.75, 0.7), (0.2, 0.8), (0.5, 0.5)])
def test_the_point_is_where_the_ball_is(size: tuple[int, int], at: tuple[float, float]) -> None:
    found = salient_point(scene(size, at))
    assert found == pytest.approx(at, abs=0.12)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (64, 64)])
def test_where_nothing_stands_out_it_is_the_middle(size: tuple[int, int]) -> None:
    assert salient_point(Image.new("RGB", size, "teal")) == (0.5, 0.5)


def test_what_is_transparent_does_not_count() -> None:
    image = scene((300, 200), (0.2, 0.5))
    image.paste(scene((300, 200), (0.8, 0.5)).crop((150, 0, 300, 200)), (150, 0))
    alpha = Image.new("L", image.size)
    alpha.paste(255, (150, 0, 300, 200))
    assert salient_point(image)[0] == pytest.approx(0.5, abs=0.1)
    assert salient_point(image, alpha)[0] > 0.7
