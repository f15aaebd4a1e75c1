"""Graphics: kept exactly or closely, decoded without weights, and never trusted."""

import subprocess
import sys
from io import BytesIO
from random import Random

import numpy as np
import pytest
from PIL import Image

from benchmarks.measure.drawn import cartoon, icon, line_art
from benchmarks.measure.pictures import psnr
from model.codec.graphics import can_be_graphic, decode, encode_avif, encode_lossless
from model.errors import ChecksumMismatch, EncodeError, InvalidStream, StreamError, TruncatedStream
from model.geometry import Box, Size
from model.stream.container import Kind, read_header, verify, write_graphic
from model.stream.graphics import MAX_EDGE

PICTURE = np.asarray(cartoon().crop((100, 100, 300, 250)))
SIZE = Size(150, 200)


@pytest.mark.parametrize("draw", [cartoon, line_art])
def test_a_drawing_takes_no_more_bytes_than_as_webp(draw):
    """Header of the stream included."""
    image, out = draw().convert("RGB"), BytesIO()
    image.save(out, "webp", lossless=True)
    assert len(encode_lossless(np.asarray(image))) <= len(out.getvalue())


def test_without_loss():
    stream = encode_lossless(PICTURE)
    header = verify(stream)
    assert (header.kind, header.sizes, header.layers[0].quality) == (Kind.LOSSLESS, (SIZE,), 100)
    assert np.array_equal(decode(stream), PICTURE)
    out = BytesIO()
    Image.fromarray(PICTURE).save(out, "webp", lossless=True)
    assert len(stream) <= len(out.getvalue()) + header.length


def test_as_avif():
    streams = [encode_avif(PICTURE, 70, quality) for quality in (30, 80)]
    assert [verify(stream).kind for stream in streams] == [Kind.AVIF] * 2
    assert read_header(streams[0]).layers[0].quality == 70
    low, high = (psnr(PICTURE, decode(stream)) for stream in streams)
    assert 25 < low < high
    assert len(streams[0]) < len(streams[1])


@pytest.mark.parametrize("encode", [encode_lossless, lambda pixels: encode_avif(pixels, 50, 60)])
def test_the_codec_decodes_graphics(tiny_codec, encode):
    """Of other weights than any, whole and in part, several in a batch."""
    pictures = [PICTURE, np.ascontiguousarray(PICTURE[::-1])]
    streams = [encode(picture) for picture in pictures]
    whole = tiny_codec.decode_batch(streams)
    assert np.array_equal(whole[0], decode(streams[0]))
    assert np.array_equal(whole[1], decode(streams[1]))
    part = tiny_codec.decode(streams[0], 0, Box(10, 20, 60, 90))
    assert np.array_equal(part, whole[0][10:60, 20:90])
    assert tiny_codec.reads(streams[0], 0, Box(0, 0, 1, 1)) == [(0, len(streams[0]))]
    with pytest.raises(InvalidStream):
        tiny_codec.decode(streams[0], 1)
    with pytest.raises(InvalidStream):
        tiny_codec.latents(streams[0], 0)
    for wrong in (Box(0, 0, 151, 10), Box(5, 5, 5, 9)):
        with pytest.raises(ValueError, match="does not lie"):
            tiny_codec.decode(streams[0], 0, wrong)
    with pytest.raises(ValueError, match="one batch"):
        tiny_codec.decode_batch([streams[0], encode(PICTURE[:50])])
    with pytest.raises(ValueError, match="another one"):
        tiny_codec.decode(streams[0], 0, start=(0, PICTURE))


def test_no_weights_and_no_torch_are_needed():
    code = "import sys, model.codec.graphics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_too_large_is_no_graphic():
    assert can_be_graphic(Size(1, MAX_EDGE))
    for size in (Size(1, MAX_EDGE + 1), Size(8193, 8193)):
        assert not can_be_graphic(size)
    with pytest.raises(EncodeError):
        encode_lossless(np.zeros((1, MAX_EDGE + 1, 3), np.uint8))


def test_damage_is_found():
    stream = encode_lossless(PICTURE)
    with pytest.raises(TruncatedStream):
        decode(stream[:-1])
    with pytest.raises(ChecksumMismatch):
        decode(stream[:-1] + bytes([stream[-1] ^ 1]))


@pytest.mark.parametrize("kind", [Kind.LOSSLESS, Kind.AVIF])
def test_hostile_files_do_no_more_than_be_refused(kind):
    """Bytes of the coded pixels changed, under checksums that fit."""
    picture = np.asarray(icon())
    stream = encode_lossless(picture) if kind is Kind.LOSSLESS else encode_avif(picture, 50, 60)
    file, random, seen = stream[read_header(stream).length :], Random(7), set()
    for _ in range(400):
        changed = bytearray(file)
        for _ in range(random.randint(1, 4)):
            changed[random.randrange(len(file))] ^= 1 << random.randrange(8)
        try:
            pixels = decode(write_graphic(kind, Size(30, 40), 50, bytes(changed)))
        except StreamError as error:
            seen.add(type(error).__name__)
            continue
        assert pixels.shape == (30, 40, 3)
        seen.add("decoded")
    assert seen == {"InvalidStream", "decoded"}
