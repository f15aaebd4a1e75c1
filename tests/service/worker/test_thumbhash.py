"""Placeholders, against hashes made with the reference implementation (npm thumbhash 0.1.1)."""

import base64

import numpy as np
import pytest
from PIL import Image

from service.worker.thumbhash import average_colour, thumbhash


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x * 7 + y * 13) % 256]
    alpha = (x + y) * 255 // max(1, width + height - 2)
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8)), Image.fromarray(alpha.astype(np.uint8))


def nibbles(text):
    return [part for byte in base64.b64decode(text) for part in (byte & 15, byte >> 4)]


@pytest.mark.parametrize(
    ("width", "height", "transparent", "expected"),
    [
        (100, 75, False, "3wcKNZqAh3dwd3d4eHh3eHCAB/h3"),
        (40, 90, False, "HwgKOxpwcHd4d4d3gIAI+Hc="),
        (64, 64, True, "owiGHQwnoIawiHp3iKCwCvlocIdweId3hw=="),
        (100, 3, False, "H/gNSaRyZpRwd4eHk4Ao+Hc="),
        (1, 1, False, "AAgCBwAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (30, 20, True, "oxiGI44nwJehhkqDwBj6Z3CHc3h3d3g="),
    ],
)
def test_as_the_reference(width, height, transparent, expected):
    """Equal but for a coefficient on the edge between two steps."""
    rgb, alpha = picture(width, height)
    found, wanted = nibbles(thumbhash(rgb, alpha if transparent else None)), nibbles(expected)
    assert len(found) == len(wanted)
    assert found[:10] == wanted[:10]
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 1


def test_large_pictures_are_reduced_first():
    assert len(thumbhash(Image.new("RGB", (5000, 20), "red"))) < 40


def test_average_colour():
    assert average_colour(Image.new("RGB", (300, 3), "#123456")) == "#123456"
    half = Image.new("RGB", (64, 64), "#ff0000")
    half.paste("#0000ff", (0, 0, 32, 64))
    assert average_colour(half) == "#800080"
    mask = Image.new("L", (64, 64), 255)
    mask.paste(0, (0, 0, 32, 64))
    assert average_colour(half, mask) == "#ff0000"
    assert average_colour(half, Image.new("L", (64, 64), 0)) == "#ffffff"


def test_colours_count_by_their_opacity():
    """Also where a transparent pixel and an opaque one become one."""
    pixels = np.zeros((640, 640, 3), np.uint8)
    y, x = np.mgrid[:640, :640]
    seen = (y // 2 + x // 2) % 2 == 0
    pixels[seen] = 255, 0, 0
    board, red = Image.fromarray(pixels), Image.new("RGB", (640, 640), "#ff0000")
    mask = Image.fromarray(np.where(seen, 255, 0).astype(np.uint8))
    assert average_colour(board, mask) == "#ff0000"
    assert thumbhash(board, mask) == thumbhash(red, mask)


def test_a_reduced_picture_has_the_transparency_of_the_whole():
    red, mask = Image.new("RGB", (64, 64), "#ff0000"), Image.new("L", (640, 640), 100)
    assert average_colour(red, mask) == "#ff0000"
    assert thumbhash(red, mask) == thumbhash(red, mask.resize((64, 64)))
