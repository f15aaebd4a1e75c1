"""What an upload says of its size: of every kind, forged ones too, and nothing for nonsense."""

from random import Random

import pytest
from PIL import features

from service.planning.announced import announced_pixels
from service.planning.cost import upload_cost
from tests.service.samples import bomb, encoded, photo

PHOTO = photo(123, 77)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + b"x" * 5000}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0"}),
        ("AVIF", {}),
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_every_kind(kind: str, options: dict[str, object]) -> None:
    assert features.check("avif")
    assert announced_pixels(encoded(PHOTO, kind, **options)) == 123 * 77


def test_a_forged_size_is_paid_for() -> None:
    """A few kilobytes that say they are 49 megapixels keep a worker as busy as if they were."""
    honest = encoded(PHOTO, "AVIF")
    at = honest.index(b"ispe") + 8
    forged = honest[:at] + (7000).to_bytes(4, "big") * 2 + honest[at + 8 :]
    assert announced_pixels(forged) == 49_000_000
    assert upload_cost(forged) > 49e6 > 100 * upload_cost(honest)
    assert upload_cost(bomb(30_000, 30_000)) > 900e6


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "AVIF", "TIFF"])
def test_damage_is_no_error(kind: str) -> None:
    data, chance = encoded(PHOTO, kind), Random(kind)
    for end in range(min(len(data), 400)):
        assert announced_pixels(data[:end]) >= 0
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(4):
            damaged[chance.randrange(min(len(data), 400))] = chance.randrange(256)
        assert announced_pixels(bytes(damaged)) >= 0


def test_nonsense_has_no_pixels() -> None:
    assert [
        announced_pixels(data) for data in (b"", b"x", b"\xff\xd8", b"%PDF-1.7", b"II*\0\xff\xff\xff\xff")
    ] == [0] * 5
    assert announced_pixels(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2**20) == 0
