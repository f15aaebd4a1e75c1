"""Every kind of upload is read right or refused clearly, and answers are written without metadata."""

import os
import struct
import zlib
from io import BytesIO
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from model.codec.codec import downscale
from model.geometry import Size
from service.errors import BadPicture, PictureTooLarge, ServiceError, UnsupportedPicture
from service.planning.formats import MEDIA_TYPES
from service.worker import imagefile
from tests.service.samples import (
    adobe_rgb_profile,
    bomb,
    encoded,
    linear_grey_profile,
    oriented,
    photo,
    pixels,
    polyglot,
)

LIMIT = 50_000_000
PHOTO = photo(120, 80)


def read(data, **options):
    return imagefile.read(data, LIMIT, **options)


def difference(image, expected) -> float:
    """Mean absolute difference in grey levels; the sizes must agree."""
    assert image.size == expected.size
    return float(np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int)).mean())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "HEIF"])
def test_formats(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(PHOTO, kind, **({} if kind in ("PNG", "TIFF", "BMP") else {"quality": 95}))
    picture = read(data)
    assert picture.format == kind
    assert picture.alpha is None
    assert difference(picture.rgb, PHOTO) < (0.01 if kind in ("PNG", "TIFF", "BMP") else 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation):
    assert difference(read(oriented(PHOTO, orientation)).rgb, PHOTO) < 4


def test_progressive_jpeg():
    assert difference(read(encoded(PHOTO, "JPEG", progressive=True, quality=95)).rgb, PHOTO) < 4


def test_cmyk_jpeg():
    picture = read(encoded(PHOTO.convert("CMYK"), "JPEG", quality=95))
    assert picture.rgb.mode == "RGB"
    assert difference(picture.rgb, PHOTO) < 8


def test_grey_and_black_and_white():
    grey = PHOTO.convert("L")
    assert difference(read(encoded(grey, "PNG")).rgb, grey.convert("RGB")) == 0
    black_and_white = PHOTO.convert("1")
    assert difference(read(encoded(black_and_white, "PNG")).rgb, black_and_white.convert("RGB")) == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits(kind):
    samples = np.linspace(0, 65535, 120 * 80).reshape(80, 120).round()
    data = encoded(Image.fromarray(samples.astype(np.uint16)), kind)
    picture = read(data)
    assert picture.bits == 16
    found = np.asarray(picture.rgb).astype(float)
    assert np.abs(found - samples[..., None] / 257).max() <= 0.5


def png(samples: np.ndarray, bits: int, key: bytes = b"") -> bytes:
    """A PNG of grey (height, width) or RGB (height, width, 3) samples of any depth, and its transparent
    colour; Pillow does not write all of these."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    planes = np.unpackbits(samples.astype(">u2")[..., None].view(np.uint8), axis=-1)[..., 16 - bits :]
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in planes)
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, 0 if samples.ndim == 2 else 2, 0, 0, 0)
    body = [(b"IHDR", header), (b"tRNS", key), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in body if part[1] or part[0] != b"tRNS")


def test_16_bits_of_colour():
    samples = np.random.default_rng(5).integers(0, 65536, (6, 7, 3), np.uint16)
    picture = read(png(samples, 16))
    assert picture.bits == 16
    assert np.abs(np.asarray(picture.rgb).astype(float) - samples / 257).max() <= 1
    assert read(encoded(PHOTO, "PNG")).bits == 8


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_any_depth(bits):
    """Beside the next grey of that depth."""
    most = 2**bits - 1
    samples = np.array([[0, 1, most - 1, most], [1, 1, 0, most]])
    for key in (1, most):
        picture = read(png(samples, bits, struct.pack(">H", key)))
        assert np.array_equal(np.asarray(picture.alpha) == 0, samples == key)
        seen = samples != key
        assert np.abs(np.asarray(picture.rgb)[seen, 0] - samples[seen] * 255 / most).max() <= 0.5


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_of_any_depth(bits):
    key = np.array([1, 2, 3] if bits == 8 else [1000, 2000, 65535])
    samples = np.full((3, 4, 3), 2 ** (bits - 1))
    samples[1:, 2] = key
    picture = read(png(samples, bits, struct.pack(">HHH", *key)))
    assert np.array_equal(np.asarray(picture.alpha) == 0, (samples == key).all(-1))


def test_a_transparent_colour_is_not_looked_for_again():
    """A mean of others may be equal to it."""
    picture = read(png(np.full((3, 4, 3), 9), 8, struct.pack(">HHH", 1, 2, 3)))
    assert picture.alpha is None
    assert not picture.rgb.has_transparency_data


def test_palette_with_transparency():
    palette = PHOTO.quantize(16)
    picture = read(encoded(palette, "PNG", transparency=3))
    assert picture.alpha is not None
    assert set(np.unique(np.asarray(picture.alpha))) == {0, 255}
    hidden = np.asarray(picture.alpha) == 0
    assert (hidden == (np.asarray(palette) == 3)).all()


def test_palette_without_transparency():
    palette = PHOTO.quantize(16)
    assert difference(read(encoded(palette, "GIF")).rgb, palette.convert("RGB")) == 0


def test_grey_with_alpha():
    image = PHOTO.convert("LA")
    image.putalpha(Image.linear_gradient("L").resize(PHOTO.size))
    picture = read(encoded(image, "PNG"))
    assert picture.rgb.mode == "RGB"
    assert picture.alpha is not None
    assert difference(picture.alpha, image.getchannel("A")) == 0


def test_opaque_alpha_is_dropped():
    assert read(encoded(PHOTO.convert("RGBA"), "PNG")).alpha is None


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animation_gives_its_first_frame(kind):
    options = {"save_all": True, "append_images": [photo(120, 80, seed=1)], "duration": 100}
    data = encoded(PHOTO.quantize(64) if kind == "GIF" else PHOTO, kind, **options)
    assert difference(read(data).rgb, PHOTO) < 12


def test_adobe_rgb_becomes_srgb():
    """Compared with the profile's own arithmetic: gamma, matrix, gamma."""
    image = Image.new("RGB", (8, 8), (180, 120, 100))
    found = np.asarray(read(encoded(image, "PNG", icc_profile=adobe_rgb_profile())).rgb)[0, 0]
    linear = (np.array([180, 120, 100]) / 255) ** (563 / 256)
    adobe = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
    to_srgb = np.linalg.inv(
        [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
    )
    light = to_srgb @ adobe @ linear
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(found - expected).max() <= 2
    assert found[0] > 185  # without the profile it would be 180


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_profile_of_grey_holds_for_16_bits_too(kind):
    """Compared with the same picture of 8 bits, and with the arithmetic of sRGB."""
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    profile = linear_grey_profile()
    narrow = read(encoded(Image.fromarray(grey), kind, icc_profile=profile))
    wide = read(encoded(Image.fromarray(grey.astype(np.uint16) * 257), kind, icc_profile=profile))
    assert (narrow.bits, wide.bits) == (8, 16)
    assert np.abs(np.asarray(narrow.rgb).astype(int) - np.asarray(wide.rgb)).max() <= 1
    assert abs(np.asarray(wide.rgb)[4, 0, 0] - 255 * (1.055 * (64 / 255) ** (1 / 2.4) - 0.055)) <= 2


@pytest.mark.parametrize("profile", [b"", b"not a profile", adobe_rgb_profile()[:200]])
def test_broken_profile_is_ignored(profile):
    assert difference(read(encoded(PHOTO, "PNG", icc_profile=profile)).rgb, PHOTO) == 0


@pytest.mark.parametrize("size", [(1, 1), (12000, 10), (1, 700)])
def test_extreme_sizes(size):
    assert read(encoded(photo(*size), "PNG")).rgb.size == size


def test_max_width():
    picture = read(encoded(PHOTO, "PNG"), max_width=60)
    assert picture.rgb.size == (60, 40)
    assert read(encoded(PHOTO, "PNG"), max_width=500).rgb.size == (120, 80)


def white_disc() -> Image.Image:
    """White on transparent black, as logos are often written."""
    image = Image.new("RGBA", (1000, 1000))
    ImageDraw.Draw(image).ellipse((100, 100, 900, 900), fill="white")
    return image


@pytest.mark.parametrize("max_width", [None, 500, 100])
@pytest.mark.parametrize("width", [100, 50, 16])
def test_hidden_colours_are_not_seen_when_a_picture_is_reduced(max_width, width):
    """At the upload, and as a layer; a white picture on white stays white."""
    picture = read(encoded(white_disc(), "PNG"), max_width=max_width)
    layer = Image.fromarray(downscale(np.asarray(picture.rgb), Size(width, width)))
    plane = Image.open(BytesIO(imagefile.write_alpha(picture.alpha, (width, width))))
    flat = Image.new("RGB", layer.size, "white")
    flat.paste(layer, mask=plane)
    assert np.asarray(flat).min() == 255
    assert plane.getextrema() == (0, 255)


def test_visible_colours_stay():
    image = PHOTO.copy()
    image.putalpha(Image.linear_gradient("L").resize(PHOTO.size).point(lambda value: max(0, value - 99)))
    seen = np.asarray(image)[..., 3] > 0
    assert not seen.all()
    picture = read(encoded(image, "PNG"))
    assert (np.asarray(picture.rgb)[seen] == np.asarray(PHOTO)[seen]).all()
    assert (np.asarray(picture.alpha) == np.asarray(image)[..., 3]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_truncated(kind):
    data = encoded(PHOTO, kind)
    with pytest.raises((BadPicture, UnsupportedPicture)):
        read(data[: len(data) // 2])


@pytest.mark.parametrize(
    "data",
    [b"x", b"hello world" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe", b"\0" * 999],
)
def test_not_a_picture(data):
    with pytest.raises(UnsupportedPicture):
        read(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_damage_anywhere_is_the_uploads_fault(kind):
    """Bytes overwritten at random: an error of ours that names it, or a picture, and nothing else."""
    random, whole = Random(kind), encoded(PHOTO.resize((40, 30)), kind)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            read(bytes(data))
        except ServiceError:
            refused += 1
    assert refused


def test_a_frame_larger_than_the_header_said_is_too_large(monkeypatch):
    def load(image):
        raise Image.DecompressionBombError("larger than said")

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", load)
    with pytest.raises(PictureTooLarge):
        read(encoded(PHOTO, "JPEG"))


def test_floating_point_is_refused():
    data = encoded(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF")
    with pytest.raises(UnsupportedPicture):
        read(data)


def test_too_many_pixels_are_refused_by_the_header(monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("pixels were decoded"))
    with pytest.raises(PictureTooLarge):
        read(bomb(30_000, 30_000))
    with pytest.raises(PictureTooLarge):
        imagefile.read(encoded(PHOTO, "PNG"), 120 * 80 - 1)


def test_polyglot_loses_what_it_carries():
    picture = read(polyglot(PHOTO))
    assert difference(picture.rgb, PHOTO) < 4
    for name in MEDIA_TYPES:
        assert b"script" not in imagefile.write(picture.rgb, name, 80)


@pytest.mark.parametrize("name", ["png", "webp", "avif", "jpeg"])
def test_written_formats(name):
    body = imagefile.write(PHOTO, name, 90)
    with Image.open(BytesIO(body)) as image:
        assert Image.MIME[image.format or ""] == MEDIA_TYPES[name]
        assert not image.getexif()
        assert difference(image.convert("RGB"), PHOTO) < (0.01 if name == "png" else 5)


@pytest.mark.parametrize("name", ["webp", "avif", "jpeg"])
def test_a_large_answer_is_the_same_on_any_number_of_cores(name):
    large = photo(1056, 1008)
    assert large.width * large.height > imagefile.LARGE
    cores = os.sched_getaffinity(0)
    bodies = [imagefile.write(large, name, 60)]
    os.sched_setaffinity(0, {min(cores)})
    try:
        bodies += [imagefile.write(large, name, 60) for _ in range(2)]
    finally:
        os.sched_setaffinity(0, cores)
    assert len(set(bodies)) == 1


@pytest.mark.parametrize("name", ["png", "webp", "avif", "jpeg"])
def test_written_transparency(name):
    image = PHOTO.copy()
    mask = Image.new("L", PHOTO.size, 0)
    mask.paste(255, (0, 0, 60, 80))
    image.putalpha(mask)
    found = pixels(imagefile.write(image, name, 95, background="#0000ff"))
    if name == "jpeg":
        assert np.abs(found[:, 90:] - [0, 0, 255]).max() < 12
    else:
        assert np.abs(found[..., 3] - np.asarray(mask)).max() < 12


def test_alpha_plane_is_lossless():
    alpha = Image.linear_gradient("L").resize((120, 80))
    assert (pixels(imagefile.write_alpha(alpha, (120, 80))) == np.asarray(alpha)).all()
    assert pixels(imagefile.write_alpha(alpha, (30, 20))).shape == (20, 30)


@pytest.mark.parametrize("quality", [89, 90, 95, 100])
def test_noise_is_written_as_jpeg(quality):
    """Pillow guesses how many bytes a progressive JPEG takes, and fails where noise takes more."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8))
    with Image.open(BytesIO(imagefile.write(noise, "jpeg", quality))) as image:
        assert difference(image.convert("RGB"), noise) < 50


def test_png_with_much_text():
    """A history of edits is often a megabyte, and is thrown away anyway."""
    info = PngInfo()
    info.add_text("XML:com.adobe.xmp", "x" * 2**21, zip=True)
    info.add_itxt("Comment", "y" * 2**21, zip=True)
    assert difference(read(encoded(PHOTO, "PNG", pnginfo=info)).rgb, PHOTO) == 0


def test_a_wide_gamut_is_kept_where_that_is_wanted():
    """The pixels stay, the profile comes back in every format; by default all becomes sRGB."""
    profile, image = adobe_rgb_profile(), photo(60, 40)
    upload = encoded(image, "PNG", icc_profile=profile)
    kept = imagefile.read(upload, 10**6, keep_gamut=True)
    assert kept.profile == profile
    assert np.array_equal(np.asarray(kept.rgb), np.asarray(image))
    converted = imagefile.read(upload, 10**6)
    assert converted.profile == b""
    assert not np.array_equal(np.asarray(converted.rgb), np.asarray(image))
    for name in ("avif", "webp", "jpeg", "png"):
        with Image.open(BytesIO(imagefile.write(image, name, 80, profile=profile))) as answer:
            assert answer.info["icc_profile"] == profile
        with Image.open(BytesIO(imagefile.write(image.convert("L"), name, 80, profile=profile))) as grey:
            assert "icc_profile" not in grey.info


@pytest.mark.parametrize(
    "profile", [b"", b"x" * 500, adobe_rgb_profile()[:300], adobe_rgb_profile() + bytes(5000)]
)
def test_profiles_that_cannot_be_kept(profile):
    """Nonsense, cut off, too large."""
    upload = encoded(photo(60, 40), "PNG", icc_profile=profile)
    assert imagefile.read(upload, 10**6, keep_gamut=True).profile == b""


def test_profiles_of_srgb_and_of_printers_are_not_kept():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    printer = adobe_rgb_profile().replace(b"mntr", b"prtr")
    for profile in (srgb, printer):
        upload = encoded(photo(60, 40), "PNG", icc_profile=profile)
        assert imagefile.read(upload, 10**6, keep_gamut=True).profile == b""
