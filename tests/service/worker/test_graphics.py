"""What drawings are kept as, and that photographs are not."""

from contextlib import suppress
from functools import cache, partial
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import service.worker.graphics as deciding
from benchmarks.measure.drawn import DRAWN, photograph, screenshot
from benchmarks.measure.pictures import psnr as measured
from model.codec.codec import Codec
from model.codec.graphics import decode
from model.errors import StreamError
from model.geometry import Size
from model.stream.container import Kind, read_header
from service.settings import Settings
from service.worker.graphics import FEW_BYTES, POOR, best_stream, looks_drawn, psnr
from tests.service.samples import encoded, photo

QUALITY = 80


@cache
def codec() -> Codec:
    return Codec.load("lite", threads=1)


def pixels_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def kept(image: Image.Image, quality: int = QUALITY) -> tuple[bytes, bytes]:
    """The network's stream of a picture with the default ladder, and what is kept."""
    pixels = pixels_of(image)
    encoder = partial(codec().encode, pixels, Settings().ladder_of(None).sizes(Size(*pixels.shape[:2])))
    stream = encoder(quality)
    return stream, best_stream(pixels, stream, quality, encoder, codec().decode)


def no_other(quality: int) -> bytes:
    """For pictures that are large, or good enough."""
    pytest.fail("a stream of another quality, which takes time")


@pytest.mark.parametrize("name", ["line art", "cartoon", "icon", "page of text"])
def test_drawings_are_kept_exactly(name):
    image = DRAWN[name]()
    stream, best = kept(image)
    header = read_header(best)
    assert header.kind is Kind.LOSSLESS
    assert np.array_equal(decode(best), pixels_of(image))
    assert len(best) <= len(encoded(image, "WEBP", lossless=True)) + header.length
    assert len(best) < len(stream) * (1 if name == "icon" else 0.5)


def test_a_screenshot_is_kept_as_avif():
    """1440 x 900 pixels with letters, shades and a photograph."""
    image = screenshot()
    stream, best = kept(image)
    assert read_header(best).kind is Kind.AVIF
    assert len(best) <= 46_000
    assert len(best) < len(stream) / 2
    original = pixels_of(image)
    assert measured(original, decode(best)) >= measured(original, codec().decode(stream))


@pytest.mark.parametrize("name", ["scanned text", "photograph", "dark photograph"])
def test_photographs_and_scans_stay_streams(name, monkeypatch):
    """And no picture file is tried for them."""
    for attempt in ("encode_lossless", "encode_avif"):
        monkeypatch.setattr(deciding, attempt, lambda *_: pytest.fail("an attempt that costs time"))
    image = DRAWN[name]()
    stream, best = kept(image)
    assert best is stream


@pytest.mark.parametrize("quality", [10, 100])
def test_photographs_stay_streams_at_every_quality(quality, monkeypatch):
    monkeypatch.setattr(deciding, "encode_avif", lambda *_: pytest.fail("an attempt that costs time"))
    stream, best = kept(photograph((320, 200)), quality)
    assert best is stream


def test_a_small_photograph_is_not_left_poor():
    """The network has little to begin with in 40 x 30 pixels."""
    image = DRAWN["small photograph"]()
    stream, best = kept(image)
    assert len(best) <= 1.1 * len(stream)
    assert measured(pixels_of(image), codec().decode(best)) >= POOR


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (16, 16)])
def test_pictures_that_a_file_has_exactly(size, colour):
    """Their error is 0, and decibels have no end."""
    for quality in (1, 55, 80, 100):
        _, best = kept(Image.new("RGB", size, colour), quality)
        shown = decode(best) if read_header(best).is_graphic else codec().decode(best)
        assert psnr(pixels_of(Image.new("RGB", size, colour)), shown) >= POOR


def test_a_small_photograph_that_is_poor_is_coded_at_a_higher_quality():
    image = DRAWN["small photograph"]()
    for asked in (10, 60):
        stream, best = kept(image, asked)
        assert measured(pixels_of(image), codec().decode(stream)) < POOR
        if read_header(best).kind is Kind.PHOTOGRAPH:
            quality = read_header(best).layers[0].quality
            assert quality > asked
            before = codec().encode(pixels_of(image), read_header(best).sizes, quality - 5)
            assert measured(pixels_of(image), codec().decode(before)) < POOR
        assert measured(pixels_of(image), codec().decode(best)) >= POOR


def test_lossless_up_to_few_bytes_whatever_avif_takes(monkeypatch):
    monkeypatch.setattr(deciding, "encode_avif", lambda *_: pytest.fail("an attempt that costs time"))
    drawing = pixels_of(DRAWN["cartoon"]().crop((0, 0, 300, 200)))
    exact = best_stream(drawing, bytes(FEW_BYTES), QUALITY, no_other, lambda _: drawing)
    assert read_header(exact).kind is Kind.LOSSLESS
    monkeypatch.undo()
    tiny = best_stream(drawing, bytes(200), QUALITY, no_other, lambda _: drawing)
    assert tiny == bytes(200)  # neither fits


def test_what_is_too_large_for_a_file_stays_a_stream():
    flat = np.zeros((2, 16384, 3), np.uint8)
    assert best_stream(flat, b"stream", QUALITY, no_other, lambda _: flat) == b"stream"


@pytest.mark.parametrize("size", [(1, 1), (2, 16000), (16000, 2), (129, 127), (300, 200)])
def test_the_guess_takes_any_shape(size):
    width, height = size
    assert looks_drawn(np.zeros((height, width, 3), np.uint8), 100)
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    assert looks_drawn(noise, 100) == (width * height <= 2**11)


def test_flat_parts_of_a_photograph_do_not_make_it_a_drawing():
    """As a sky that is overexposed here and there; the same of even colours is a drawing."""
    shades = pixels_of(photo(400, 300)).copy()
    shades[:150] = np.random.default_rng(3).integers(253, 256, (150, 400, 1)) // 254 * 254
    steps = (shades[:, 1:] == shades[:, :-1]).all(-1)
    assert 0.2 < steps.mean() < 0.6
    assert not looks_drawn(shades, 1000)
    assert looks_drawn(np.where(shades > 128, 254, 0).astype(np.uint8), 1000)


def soft_photograph() -> Image.Image:
    """Out of focus everywhere, as a camera's file has it: many of its pixels equal their neighbours."""
    return Image.open(BytesIO(encoded(photo(50, 38).resize((1200, 912)), "JPEG", quality=92)))


def test_a_photograph_out_of_focus_is_no_drawing():
    pixels = pixels_of(soft_photograph())
    assert (pixels[:, 1:] == pixels[:, :-1]).all(-1).mean() > 0.5
    assert not looks_drawn(pixels, 1000)
    screen = Image.open(BytesIO(encoded(screenshot(), "JPEG", quality=92)))
    assert looks_drawn(pixels_of(screen), 1000)


def test_nothing_is_tried_without_loss_where_that_cannot_be_small(monkeypatch):
    """A drawing that has gone through a JPEG; AVIF is tried."""
    monkeypatch.setattr(deciding, "encode_lossless", lambda *_: pytest.fail("an attempt that costs time"))
    tried = []
    monkeypatch.setattr(deciding, "encode_avif", lambda *_: tried.append(1) or b"")
    screen = pixels_of(Image.open(BytesIO(encoded(screenshot(), "JPEG", quality=92))))
    with suppress(StreamError):
        best_stream(screen, bytes(50_000), QUALITY, no_other, lambda _: screen)
    assert tried


def test_few_colours_in_disorder_may_be_drawings():
    """A dithered palette is not flat, and has few bytes without loss."""
    dithered = photo(300, 300).convert("1").convert("RGB")
    assert looks_drawn(pixels_of(dithered), 100_000)
    assert not looks_drawn(pixels_of(dithered), 1_000)


def test_psnr_is_that_of_the_benchmarks():
    random = np.random.default_rng(2)
    one, other = (random.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(2))
    assert psnr(one, other) == pytest.approx(measured(one, other))
    assert psnr(one, one) == float("inf")
