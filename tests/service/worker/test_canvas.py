"""Cutting out, resizing and turning, against Pillow and numpy."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from model.geometry import Box, Size
from service.messages.plans import RenderPlan
from service.worker.canvas import resized, turned
from tests.service.samples import encoded, photo

PLAN = RenderPlan("key", "", 0, Size(40, 60), "png", 100)
WHOLE = Box(0, 0, 40, 60)


def never(pixels: np.ndarray, size: Size) -> np.ndarray:
    raise AssertionError("nothing is enlarged here")


def repeated(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Enlarges by repeating pixels."""
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.NEAREST))


def equal(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))


def test_a_layer_at_its_own_size_is_left_as_it_is() -> None:
    layer = photo(60, 40)
    assert resized(layer, WHOLE, PLAN, None, never) is layer


def test_a_crop_at_its_own_size_is_cut_out_of_the_layer_or_of_the_part_that_was_decoded() -> None:
    layer, plan = photo(60, 40), replace(PLAN, size=Size(10, 20), crop=Box(20, 30, 30, 50))
    expected = layer.crop((30, 20, 50, 30))
    assert equal(resized(layer.copy(), WHOLE, plan, None, never), expected)
    part = Box(10, 24, 36, 56)
    decoded = layer.crop((24, 10, 56, 36))
    assert equal(resized(decoded, part, plan, None, never), expected)


def test_smaller_is_antialiased_and_no_pixel_beyond_the_crop_is_seen() -> None:
    layer, plan = photo(60, 40), replace(PLAN, size=Size(8, 10), crop=Box(10, 20, 34, 50))
    expected = layer.resize((10, 8), Image.Resampling.LANCZOS, box=(20, 10, 50, 34))
    assert equal(resized(layer, WHOLE, plan, None, never), expected)


def test_larger_is_made_of_what_was_cut_out_alone() -> None:
    layer, plan = photo(60, 40), replace(PLAN, size=Size(20, 40), crop=Box(20, 10, 30, 30))
    seen = []

    def enlarge(pixels: np.ndarray, size: Size) -> np.ndarray:
        seen.append((pixels.shape, size))
        return repeated(pixels, size)

    found = resized(layer, WHOLE, plan, None, enlarge)
    assert seen == [((10, 20, 3), Size(20, 40))]
    assert equal(found, layer.crop((10, 20, 30, 30)).resize((40, 20), Image.Resampling.NEAREST))


def test_far_larger_is_not_the_codecs_to_enlarge() -> None:
    layer, plan = photo(60, 40), replace(PLAN, size=Size(87, 130))
    assert resized(layer, WHOLE, plan, None, never).size == (130, 87)


@pytest.mark.parametrize("size", [Size(40, 60), Size(20, 30), Size(80, 120)])
def test_transparency_goes_with_the_picture(size: Size) -> None:
    mask = photo(60, 40, seed=1).convert("L")
    found = resized(photo(60, 40), WHOLE, replace(PLAN, size=size), encoded(mask, "PNG"), repeated)
    assert found.mode == "RGBA"
    expected = np.asarray(mask.resize((size.width, size.height), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(np.asarray(found.getchannel("A")).astype(int) - expected).max() <= 1


def test_the_plane_of_a_part_is_its_own() -> None:
    mask = photo(60, 40, seed=1).convert("L")
    plan = replace(PLAN, size=Size(10, 20), crop=Box(20, 30, 30, 50))
    part = photo(60, 40).crop((24, 10, 56, 36))
    found = resized(part, Box(10, 24, 36, 56), plan, encoded(mask, "PNG"), never)
    assert equal(found.getchannel("A"), mask.crop((30, 20, 50, 30)))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turned_clockwise_after_mirroring(rotation: int, mirror: bool) -> None:
    image = photo(60, 40)
    pixels = np.asarray(image)
    expected = np.rot90(pixels[:, ::-1] if mirror else pixels, -rotation // 90)
    found = turned(image, replace(PLAN, rotation=rotation, mirror=mirror))
    assert np.array_equal(np.asarray(found), expected)


def test_colours_taken_out() -> None:
    image = photo(60, 40)
    assert turned(image, replace(PLAN, gray=True)).mode == "L"
    black_and_white = turned(image, replace(PLAN, bitonal=True))
    assert set(np.unique(np.asarray(black_and_white))) == {0, 255}
    image.putalpha(photo(60, 40, seed=1).convert("L"))
    grey = turned(image, replace(PLAN, gray=True))
    assert grey.mode == "RGBA"
    assert equal(grey.getchannel("A"), image.getchannel("A"))
    assert equal(grey.getchannel("R"), grey.getchannel("B"))


def test_black_and_white_of_what_is_seen_on_the_background() -> None:
    logo = Image.new("RGBA", (64, 64))
    logo.paste("black", (20, 20, 40, 40))
    found = turned(logo, replace(PLAN, bitonal=True))
    assert found.mode == "L"
    assert found.getextrema() == (0, 255)
    assert found.getpixel((0, 0)) == 255
    assert found.getpixel((30, 30)) == 0
    assert turned(logo, replace(PLAN, bitonal=True, background="#000000")).getextrema() == (0, 0)


def test_a_plane_that_is_no_png_is_not_opened() -> None:
    plane = BytesIO()
    photo(60, 40).convert("L").save(plane, "TIFF")
    with pytest.raises(OSError):
        resized(photo(60, 40), WHOLE, PLAN, plane.getvalue(), never)
