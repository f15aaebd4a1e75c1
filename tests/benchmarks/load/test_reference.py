"""The check of answers under load finds what is wrong, with the real codec."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmarks.load.reference import Reference, wrong_answers
from benchmarks.load.traffic import Hit, Shot
from model.codec.codec import Codec
from model.geometry import Size
from service.settings import Settings

WIDTHS = [Size(60, 80), Size(120, 160)]


def picture(seed: int) -> np.ndarray:
    y, x = np.mgrid[0:120, 0:160]
    planes = [x, 2 * y, (x * (seed + 1) + y) % 256]
    return np.stack(planes, 2).astype(np.uint8)


@pytest.fixture(scope="module")
def reference() -> Reference:
    codec = Codec.load("lite")
    streams = {f"picture{n}": codec.encode(picture(n), WIDTHS, 75) for n in range(2)}
    return Reference(streams, Settings(device="cpu"))


@pytest.fixture(scope="module")
def hit(reference: Reference) -> Hit:
    body = reference.expected("picture0", 100, "image/webp")
    shot = Shot("read", "/images/picture0?width=100")
    return Hit(shot, 200, 0.1, body, media_type="image/webp")


def test_what_is_expected_has_the_width(reference: Reference, hit: Hit) -> None:
    assert Image.open(BytesIO(hit.body)).size == (100, 75)
    assert Image.open(BytesIO(reference.expected("picture1", 160, "image/jpeg"))).size == (160, 120)


def test_right_answers_pass(reference: Reference, hit: Hit) -> None:
    refused = Hit(Shot("read", hit.shot.path), 429, 0.1, b"no", media_type="application/problem+json")
    assert reference.wrong([hit, hit, refused]) == []


@pytest.mark.parametrize("other", [("picture1", 100), ("picture0", 101)])
def test_another_picture_and_another_width_are_wrong(
    reference: Reference, hit: Hit, other: tuple[str, int]
) -> None:
    wrong = replace(hit, body=reference.expected(*other, "image/webp"))
    assert len(reference.wrong([hit, wrong, wrong, hit])) == 1


def test_the_same_pixels_in_other_bytes_pass(reference: Reference, hit: Hit) -> None:
    out = BytesIO()
    Image.open(BytesIO(hit.body)).save(out, "webp", lossless=True)
    assert reference.wrong([replace(hit, body=out.getvalue())]) == []


def test_what_cannot_be_compared_is_told(reference: Reference, hit: Hit) -> None:
    unknown = replace(hit, shot=Shot("read", "/images/picture9?width=100"))
    other = replace(hit, media_type="image/unknown")
    torn = replace(hit, body=hit.body[:40])
    assert len(reference.wrong([unknown, other, torn])) == 3


@pytest.mark.slow
def test_several_processes_find_the_same(reference: Reference, hit: Hit) -> None:
    other = Hit(
        Shot("read", "/images/picture1?width=100"), 200, 0.1, hit.body, media_type="image/webp"
    )  # the first picture's pixels
    nonsense = Hit(Shot("read", "/nothing"), 200, 0.1, b"?", media_type="image/webp")
    streams, settings = reference._streams, Settings(device="cpu")
    found = wrong_answers(streams, settings, [hit, other, nonsense], processes=2)
    assert sorted(found) == sorted(reference.wrong([hit, other, nonsense]))
    assert len(found) == 2
