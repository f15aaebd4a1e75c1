"""What nobody sees gets the colours around it, and what is seen keeps its own."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.worker.transparency import fill_hidden, flattened, mean_colour
from tests.service.samples import photo


def filled(rgb: Image.Image, alpha: Image.Image) -> np.ndarray:
    found = rgb.copy()
    fill_hidden(found, alpha)
    return np.asarray(found)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 7), (64, 64), (129, 65), (200, 333)])
def test_visible_pixels_stay_and_hidden_ones_are_like_them(size: tuple[int, int]) -> None:
    """Of any size: the last row and column of odd ones have no neighbour."""
    rgb, alpha = Image.new("RGB", size, "#010203"), Image.new("L", size)
    rgb.putpixel((size[0] - 1, size[1] - 1), (200, 100, 50))
    alpha.putpixel((size[0] - 1, size[1] - 1), 1)
    assert (filled(rgb, alpha) == (200, 100, 50)).all()


def test_each_side_gets_its_own_colour() -> None:
    rgb = Image.new("RGB", (256, 200))
    rgb.paste("#ff0000", (0, 0, 60, 200))
    rgb.paste("#0000ff", (196, 0, 256, 200))
    alpha = Image.new("L", rgb.size)
    alpha.paste(255, (0, 0, 60, 200))
    alpha.paste(255, (196, 0, 256, 200))
    found = filled(rgb, alpha)
    assert (found[:, :128] == (255, 0, 0)).all()
    assert (found[:, 128:] == (0, 0, 255)).all()


def test_neighbours_count_by_their_opacity() -> None:
    rgb = Image.new("RGB", (2, 2))
    rgb.putdata([(90, 0, 0), (0, 30, 0), (9, 9, 9), (9, 9, 9)])
    alpha = Image.new("L", (2, 2))
    alpha.putdata([200, 100, 0, 0])
    assert filled(rgb, alpha)[1].tolist() == [[60, 10, 0]] * 2
    assert mean_colour(rgb, alpha) == (60, 10, 0)


def test_without_hidden_pixels_nothing_changes() -> None:
    rgb, alpha = photo(61, 43), photo(61, 43, seed=1).convert("L").point(lambda value: max(1, value))
    assert (filled(rgb, alpha) == np.asarray(rgb)).all()


def test_without_visible_pixels_all_is_black() -> None:
    rgb, alpha = photo(61, 43), Image.new("L", (61, 43))
    assert not filled(rgb, alpha).any()
    assert mean_colour(rgb, alpha) is None


def test_what_is_visible_of_a_photograph_stays() -> None:
    rgb, alpha = photo(301, 203), Image.new("L", (301, 203))
    ImageDraw.Draw(alpha).ellipse((50, 40, 250, 160), fill=128)
    seen = np.asarray(alpha) > 0
    assert (filled(rgb, alpha)[seen] == np.asarray(rgb)[seen]).all()


def test_the_mean_of_a_large_picture_is_exact() -> None:
    rgb, alpha = photo(301, 203), photo(301, 203, seed=1).convert("L")
    colours, weights = np.asarray(rgb).reshape(-1, 3).astype(float), np.asarray(alpha).ravel().astype(float)
    assert mean_colour(rgb, alpha) == pytest.approx(weights @ colours / weights.sum(), abs=1e-9)


def test_flattened_on_a_background() -> None:
    image = Image.new("RGBA", (3, 1), (200, 100, 0, 255))
    image.putpixel((1, 0), (200, 100, 0, 51))
    image.putpixel((2, 0), (200, 100, 0, 0))
    found = flattened(image, "#0000ff")
    assert found.mode == "RGB"
    assert np.asarray(found)[0].tolist() == [[200, 100, 0], [40, 20, 204], [0, 0, 255]]
    assert flattened(found, "#ffffff") is found
