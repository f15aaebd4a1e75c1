"""Only plain files of the layer's size are graphics: everything else is told before a library opens it."""

import contextlib
from io import BytesIO
from random import Random

import pytest
from PIL import Image

from model.errors import InvalidStream
from model.geometry import Size
from model.stream.container import Kind
from model.stream.graphics import MAX_EDGE, MAX_PIXELS, check

SIZE = Size(20, 30)
IMAGE = Image.radial_gradient("L").resize((30, 20)).convert("RGB")


def coded(image: Image.Image, kind: str, **options) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def srgb() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


WEBP = coded(IMAGE, "webp", lossless=True)
AVIF = coded(IMAGE, "avif", subsampling="4:4:4")
FRAMES = {"save_all": True, "append_images": [IMAGE.rotate(180)]}
ALPHA = IMAGE.copy()
ALPHA.putalpha(100)


@pytest.mark.parametrize("shape", [(30, 20), (1, 1), (1, 700), (700, 1), (1440, 900), (4097, 65)])
def test_plain_files_are_taken(shape):
    image = IMAGE.resize(shape)
    check(Kind.LOSSLESS, coded(image, "webp", lossless=True), Size(shape[1], shape[0]))
    for subsampling in ("4:4:4", "4:2:0"):
        file = coded(image, "avif", subsampling=subsampling, speed=9)
        check(Kind.AVIF, file, Size(shape[1], shape[0]))


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        (Kind.LOSSLESS, b""),
        (Kind.LOSSLESS, AVIF),
        (Kind.LOSSLESS, WEBP + b"\0\0"),
        (Kind.LOSSLESS, coded(IMAGE, "webp", quality=80)),
        (Kind.LOSSLESS, coded(ALPHA, "webp", lossless=True)),
        (Kind.LOSSLESS, coded(IMAGE, "webp", lossless=True, **FRAMES)),
        (Kind.LOSSLESS, coded(IMAGE, "webp", lossless=True, icc_profile=srgb())),
        (Kind.LOSSLESS, coded(IMAGE, "webp", lossless=True, xmp=b"<x/>")),
        (Kind.LOSSLESS, coded(IMAGE, "png")),
        (Kind.AVIF, b""),
        (Kind.AVIF, WEBP),
        (Kind.AVIF, AVIF + b"\0\0\0\x08free"),
        (Kind.AVIF, coded(ALPHA, "avif")),
        (Kind.AVIF, coded(IMAGE, "avif", **FRAMES)),
        (Kind.AVIF, coded(IMAGE, "avif", icc_profile=srgb())),
        (Kind.AVIF, coded(IMAGE, "avif", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")),
        (Kind.AVIF, coded(IMAGE, "avif", xmp=b"<x/>")),
        (Kind.AVIF, coded(IMAGE.convert("L"), "avif")),
    ],
)
def test_other_files_are_refused(kind, file):
    with pytest.raises(InvalidStream):
        check(kind, file, SIZE)


@pytest.mark.parametrize(("kind", "file"), [(Kind.LOSSLESS, WEBP), (Kind.AVIF, AVIF)])
def test_the_size_is_that_of_the_header(kind, file):
    for other in (
        Size(20, 31),
        Size(30, 20),
        Size(MAX_EDGE + 1, 1),
        Size(MAX_EDGE, MAX_PIXELS // MAX_EDGE + 1),
    ):
        with pytest.raises(InvalidStream):
            check(kind, file, other)


def test_a_frame_larger_than_its_container_says_is_found():
    """The bytes of a large AV1 picture in a container that calls it small, with all lengths right."""
    small = coded(IMAGE, "avif", subsampling="4:4:4", speed=9)
    large = coded(IMAGE.resize((3000, 2000)), "avif", subsampling="4:4:4", speed=9)
    payload = large[large.index(b"mdat") + 4 :]
    at = small.index(b"mdat") + 4
    forged = bytearray(small[:at] + payload)
    forged[at - 8 : at - 4] = (len(payload) + 8).to_bytes(4, "big")
    place = small.index(b"iloc") + 4 + 18
    assert int.from_bytes(small[place : place + 4], "big") == len(small) - at
    forged[place : place + 4] = len(payload).to_bytes(4, "big")
    with pytest.raises(InvalidStream, match="sequence of another size"):
        check(Kind.AVIF, bytes(forged), SIZE)


@pytest.mark.parametrize(("kind", "file"), [(Kind.LOSSLESS, WEBP), (Kind.AVIF, AVIF)])
def test_no_cut_and_no_change_does_more_than_be_refused(kind, file):
    for size in range(len(file)):
        with pytest.raises(InvalidStream):
            check(kind, file[:size], SIZE)
    random = Random(1)
    for _ in range(3000):
        changed = bytearray(file)
        for _ in range(random.randint(1, 3)):
            changed[random.randrange(min(len(file), 330))] = random.randrange(256)
        with contextlib.suppress(InvalidStream):
            check(kind, bytes(changed), SIZE)
