"""Pictures to streams and back; the latents exactly, whatever evaluates the network."""

import gc
import hashlib
import itertools
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import model.codec.codec
from model.clock import StageClock
from model.codec.codec import Codec, downscale
from model.codec.weights import load
from model.errors import ChecksumMismatch, EncodeError, InvalidStream, TruncatedStream, UnknownModel
from model.geometry import Box, Size
from model.stream.container import MAX_LAYERS, layers_held, read_header, verify
from model.training.export import export
from model.training.network import initialise
from tests.model.tiny import TINY, TINY_PATCHES, lively_network, picture, picture_of

ODD_SIZES = [
    Size(*size) for size in [(1, 1), (173, 1), (1, 131), (16, 16), (64, 64), (129, 65), (61, 97), (31, 257)]
]

SIZES = [Size(61, 97), Size(150, 190), Size(290, 400)]


def ladder(width, height):
    """Three layers where they fit."""
    sizes = [Size(max(1, height // d), max(1, width // d)) for d in (5, 2, 1)]
    return [size for size, _ in itertools.groupby(sizes)]


@pytest.fixture(scope="module")
def original():
    return picture(400, 290)


@pytest.fixture(scope="module", params=[TINY, TINY_PATCHES], ids=lambda config: config.form)
def weights_of_a_form(request, tmp_path_factory):
    """The weight file of a small random network in each form of the transforms."""
    path = tmp_path_factory.mktemp("weights") / "form.safetensors"
    export(lively_network(request.param), path)
    return path


@pytest.fixture(scope="module")
def codec_of_a_form(weights_of_a_form):
    return Codec.load(str(weights_of_a_form))


@pytest.fixture(scope="module")
def stream_of_a_form(codec_of_a_form, original):
    """Three layers, the last of 2 x 2 tiles."""
    return codec_of_a_form.encode(original, SIZES, 60)


@pytest.fixture(scope="module")
def stream(tiny_codec, original):
    """Three layers, the last of 2 x 2 tiles."""
    return tiny_codec.encode(original, SIZES, 60)


def test_header_of_a_stream(tiny_codec, stream):
    header = verify(stream)
    assert header.model_id == tiny_codec.model_id
    assert [(e.width, e.height, e.quality) for e in header.layers] == [
        (97, 61, 60), (190, 150, 60), (400, 290, 60),
    ]  # fmt: skip
    assert header.grid(2) == (2, 2)


def test_streams_are_lively(codec_of_a_form, stream_of_a_form):
    """Else the tests here would show little."""
    for k in range(3):
        y = codec_of_a_form.latents(stream_of_a_form, k)
        assert len(y.unique()) > 200
        assert y.std() > 1


def test_encoding_is_reproducible(codec_of_a_form, original, stream_of_a_form):
    assert codec_of_a_form.encode(original, SIZES, 60) == stream_of_a_form


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_prefix_decodes_as_the_whole(codec_of_a_form, stream_of_a_form, layer):
    header = read_header(stream_of_a_form)
    end = header.layers[layer].end
    assert layers_held(header, end) == layer + 1
    pixels = codec_of_a_form.decode(stream_of_a_form, layer)
    assert pixels.shape == (header.layers[layer].height, header.layers[layer].width, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(codec_of_a_form.decode(stream_of_a_form[:end], layer), pixels)
    with pytest.raises(TruncatedStream):
        codec_of_a_form.decode(stream_of_a_form[: end - 1], layer)


def test_the_largest_layer_by_default(tiny_codec, stream):
    assert np.array_equal(tiny_codec.decode(stream), tiny_codec.decode(stream, 2))


def test_layers_follow_from_the_layer_below(codec_of_a_form, stream_of_a_form):
    layers = [codec_of_a_form.decode(stream_of_a_form, k) for k in range(3)]
    for first, wanted in [(0, 1), (0, 2), (1, 2)]:
        assert np.array_equal(
            codec_of_a_form.decode(stream_of_a_form, wanted, start=(first, layers[first])), layers[wanted]
        )


def test_the_layers_below_are_not_read_when_they_are_given(tiny_codec, stream):
    header, below = read_header(stream), tiny_codec.decode(stream, 1)
    blanked = bytearray(stream)
    blanked[header.layers[0].offset : header.layers[1].end] = bytes(
        header.layers[1].end - header.layers[0].offset
    )
    decoded = tiny_codec.decode(bytes(blanked), 2, start=(1, below))
    assert np.array_equal(decoded, tiny_codec.decode(stream))


@pytest.mark.parametrize("layer", [3, 99])
def test_layers_that_do_not_exist(tiny_codec, stream, layer):
    with pytest.raises(InvalidStream):
        tiny_codec.decode(stream, layer)


@pytest.mark.parametrize(("start", "of"), [(1, 1), (2, 1), (-2, 0), (0, 1)])
def test_starts_that_do_not_fit(tiny_codec, stream, start, of):
    with pytest.raises(ValueError):
        tiny_codec.decode(stream, 1, start=(start, tiny_codec.decode(stream, of)))


@given(st.data(), st.sampled_from([0, 1, 2]))
@settings(deadline=None, max_examples=40)
def test_a_region_is_the_crop_of_the_whole(codec_of_a_form, stream_of_a_form, data, layer):
    whole = decoded(codec_of_a_form, stream_of_a_form, layer)
    height, width = whole.shape[:2]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
    region = codec_of_a_form.decode(stream_of_a_form, layer, region=box)
    assert region.shape == (*box.size, 3)
    difference = np.abs(region.astype(int) - whole[box.top : box.bottom, box.left : box.right])
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


_decoded: dict[tuple[bytes, int], np.ndarray] = {}


def decoded(codec, stream, layer):
    """A whole layer, decoded once for all examples."""
    key = hashlib.sha256(stream).digest(), layer
    if key not in _decoded:
        _decoded[key] = codec.decode(stream, layer)
    return _decoded[key]


@pytest.mark.parametrize("box", [Box(0, 0, 0, 5), Box(0, 0, 291, 5), Box(-1, 0, 5, 5), Box(5, 5, 4, 9)])
def test_regions_outside_the_picture(tiny_codec, stream, box):
    with pytest.raises(ValueError):
        tiny_codec.decode(stream, 2, region=box)


def test_a_region_reads_only_its_part(tiny_codec):
    """Everything else in the stream may be missing."""
    stream = tiny_codec.encode(picture(1400, 700), [Size(175, 350), Size(700, 1400)], 40)
    box = Box(20, 30, 90, 100)
    spans = tiny_codec.reads(stream, 1, box)
    assert sum(end - start for start, end in spans) < len(stream) / 2
    rest = bytearray(len(stream))
    for start, end in spans:
        rest[start:end] = stream[start:end]
    assert np.array_equal(tiny_codec.decode(bytes(rest), 1, box), tiny_codec.decode(stream, 1, box))
    start, end = spans[-1]
    rest[start] ^= 1
    with pytest.raises(ChecksumMismatch):
        tiny_codec.decode(bytes(rest), 1, box)


@pytest.mark.parametrize("size", ODD_SIZES, ids=str)
def test_odd_sizes(codec_of_a_form, size):
    pixels, sizes = picture_of(size), ladder(size.width, size.height)
    stream = codec_of_a_form.encode(pixels, sizes, 70)
    for k, size in enumerate(sizes):
        assert codec_of_a_form.decode(stream, k).shape == (*size, 3)


@pytest.mark.parametrize("tile", [64, 128, 1024])
def test_other_tile_sizes_give_the_same_picture(tiny_codec, original, stream, monkeypatch, tile):
    monkeypatch.setattr(tiny_codec.layers, "tile", tile)
    other = tiny_codec.encode(original, SIZES, 60)
    assert read_header(other).tile == tile
    for k in range(3):
        assert torch.equal(tiny_codec.latents(other, k), tiny_codec.latents(stream, k))
        assert np.array_equal(tiny_codec.decode(other, k), tiny_codec.decode(stream, k))
    box = Box(100, 60, 140, 300)
    region = tiny_codec.decode(other, 2, region=box).astype(int)
    assert np.abs(region - tiny_codec.decode(stream)[100:140, 60:300]).max() <= 1


def test_quality_changes_the_stream(tiny_codec, original):
    streams = [tiny_codec.encode(original, [Size(290, 400)], quality) for quality in (1, 50, 51, 100)]
    assert len(set(streams)) == 4
    assert [read_header(s).layers[0].quality for s in streams] == [1, 50, 51, 100]


def test_as_many_layers_as_a_stream_can_hold(tiny_codec):
    sizes = [Size(2 * w, w) for w in range(1, MAX_LAYERS + 1)]
    stream = tiny_codec.encode(picture_of(sizes[-1]), sizes, 50)
    assert tiny_codec.decode(stream).shape == (32, 16, 3)
    sizes = [Size(2 * w, w) for w in range(1, MAX_LAYERS + 2)]
    with pytest.raises(EncodeError):
        tiny_codec.encode(picture_of(sizes[-1]), sizes, 50)


@pytest.mark.parametrize(
    ("pixels", "sizes", "quality"),
    [
        (picture(8, 6).astype(np.float32), [Size(6, 8)], 50),
        (picture(8, 6)[..., :2], [Size(6, 8)], 50),
        (picture(8, 6)[..., 0], [Size(6, 8)], 50),
        (picture(8, 6)[:0], [Size(0, 8)], 50),
        (picture(8, 6), [], 50),
        (picture(8, 6), [Size(8, 6)], 50),
        (picture(8, 6), [Size(3, 4)], 50),
        (picture(8, 6), [Size(3, 4), Size(3, 4), Size(6, 8)], 50),
        (picture(8, 6), [Size(3, 4), Size(4, 3), Size(6, 8)], 50),
        (picture(8, 6), [Size(3, 9), Size(6, 8)], 50),
        (picture(8, 6), [Size(1, 0), Size(6, 8)], 50),
        (picture(8, 6), [Size(6, 8)], 0),
        (picture(8, 6), [Size(6, 8)], 101),
        (np.zeros((1, 65536, 3), np.uint8), [Size(1, 65536)], 50),
    ],
)
def test_what_cannot_be_coded(tiny_codec, pixels, sizes, quality):
    with pytest.raises(EncodeError):
        tiny_codec.encode(pixels, sizes, quality)


@pytest.mark.parametrize("size", [Size(30, 40), Size(61, 97), Size(290, 300)])
def test_enlargement_is_the_prediction(codec_of_a_form, size):
    pixels = picture(40, 30)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = (255 * codec_of_a_form.layers.network.liff(x, size)[0]).clamp(0, 255).permute(1, 2, 0)
    enlarged = codec_of_a_form.enlarge(pixels, size)
    assert enlarged.dtype == np.uint8
    assert np.abs(enlarged - expected.numpy()).max() <= 0.51


def test_errors_of_all_layers(tiny_codec, original, stream):
    """Each as it is decoded alone, against the picture scaled to its size."""
    errors = tiny_codec.errors(stream, original)
    for k, (size, error) in enumerate(zip(read_header(stream).sizes, errors, strict=True)):
        difference = tiny_codec.decode(stream, k).astype(int) - downscale(original, size)
        assert error == np.square(difference).sum() > 0


def test_downscaling():
    pixels = picture(40, 30)
    assert downscale(pixels, Size(30, 40)) is pixels
    assert downscale(pixels, Size(9, 13)).shape == (9, 13, 3)


def test_pictures_that_are_views(tiny_codec):
    """Mirrored, transposed and read-only arrays code as their copies do."""
    pixels = picture(50, 40)
    pixels.flags.writeable = False
    for view in (pixels[:, ::-1], pixels[::-1], pixels.transpose(1, 0, 2), pixels[3:, 5:]):
        size = [Size(*view.shape[:2])]
        assert tiny_codec.encode(view, size, 50) == tiny_codec.encode(view.copy(), size, 50)


def test_streams_of_other_models(tiny_codec, tmp_path, monkeypatch, stream):
    path = tmp_path / "other.safetensors"
    identity = export(lively_network(seed=9), path)
    other = Codec.load(str(path))
    theirs = other.encode(picture(70, 50), [Size(50, 70)], 50)
    assert read_header(theirs).model_id == identity
    with pytest.raises(UnknownModel):
        tiny_codec.decode(theirs)
    monkeypatch.setattr(model.codec.codec, "path_of_model", {identity: path}.__getitem__)
    try:
        assert np.array_equal(tiny_codec.decode(theirs), other.decode(theirs))
        assert torch.equal(tiny_codec.latents(theirs, 0), other.latents(theirs, 0))
    finally:
        tiny_codec._codecs_of_other_models.clear()


# ------------------------------------------------------------------ exact on every machine


SIZES_OF_100 = [*ODD_SIZES, Size(63, 65)] + [
    Size(int(h), int(w)) for w, h in np.random.default_rng(4).integers(1, 160, (91, 2))
]


@pytest.mark.slow
def test_latents_of_100_pictures(tiny_codec, tiny_weights):
    """Threads, oneDNN and a process that codes several pictures at once change no latent."""
    pooled = Codec.load(str(tiny_weights), threads=2)
    streams = [
        tiny_codec.encode(picture(w, h, seed), ladder(w, h), 1 + seed % 100)
        for seed, (h, w) in enumerate(SIZES_OF_100)
    ]
    expected = [latents(tiny_codec, stream) for stream in streams]
    assert [latents(pooled, stream) for stream in streams] == expected
    with torch.backends.mkldnn.flags(enabled=False):
        assert [latents(tiny_codec, stream) for stream in streams] == expected
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda stream: latents(pooled, stream), streams)) == expected
    torch.set_num_threads(2)
    try:
        assert [latents(tiny_codec, stream) for stream in streams] == expected
    finally:
        torch.set_num_threads(1)


def latents(codec, stream):
    """Digests of all layers' latents."""
    return [
        hashlib.sha256(codec.latents(stream, k).contiguous().numpy().tobytes()).hexdigest()
        for k in range(len(read_header(stream).layers))
    ]


def test_streams_of_encoders_that_calculate_otherwise_decode_to_equal_latents(tiny_codec, tiny_weights):
    """An encoder in float64 or without oneDNN may choose other symbols; every decoder gets them."""
    pixels, sizes = picture(190, 131), [Size(66, 95), Size(131, 190)]
    streams = [tiny_codec.encode(pixels, sizes, 80)]
    with torch.backends.mkldnn.flags(enabled=False):
        streams.append(tiny_codec.encode(pixels, sizes, 80))
        without = [latents(tiny_codec, stream) for stream in streams]
    assert [latents(tiny_codec, stream) for stream in streams] == without
    assert len({len(stream) // 64 for stream in streams}) == 1


def test_the_network_in_double_precision_changes_no_latent(tiny_codec, tiny_weights, stream):
    """The latents do not depend on the floating-point network at all: not even on its presence."""
    bare = load(tiny_weights)
    for parameter in bare.network.parameters():
        parameter.fill_(float("nan"))
    assert latents(Codec(bare), stream) == latents(tiny_codec, stream)
    double = load(tiny_weights)
    double.network.double()
    assert latents(Codec(double), stream) == latents(tiny_codec, stream)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_pixel(codec_of_a_form, weights_of_a_form, original, stream_of_a_form, threads):
    other = Codec.load(str(weights_of_a_form), threads=threads)
    assert np.array_equal(other.decode(stream_of_a_form), codec_of_a_form.decode(stream_of_a_form))
    assert other.encode(original, SIZES, 60) == stream_of_a_form


def test_onednn_changes_pixels_by_one_at_most(codec_of_a_form, stream_of_a_form):
    layers = [codec_of_a_form.decode(stream_of_a_form, k) for k in range(3)]
    with torch.backends.mkldnn.flags(enabled=False):
        for k in range(3):
            start = (k - 1, layers[k - 1]) if k else None
            other = codec_of_a_form.decode(stream_of_a_form, k, start=start)
            assert np.abs(other.astype(int) - layers[k]).max() <= 1


def test_several_pictures_at_once(tiny_codec, original, stream):
    """One codec serves several threads."""
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(lambda k: tiny_codec.decode(stream, k % 3), range(12)))
        encoded = list(pool.map(lambda _: tiny_codec.encode(original, [Size(290, 400)], 60), range(4)))
    for k in range(12):
        assert np.array_equal(decoded[k], tiny_codec.decode(stream, k % 3))
    assert len(set(encoded)) == 1


def test_a_batch_of_pictures_of_the_same_sizes(codec_of_a_form, original):
    sizes = [Size(90, 120), Size(181, 250), Size(*original.shape[:2])]
    pictures = [original, original[::-1], original[:, ::-1], 255 - original]
    streams = [
        codec_of_a_form.encode(p, sizes, quality)
        for p, quality in zip(pictures, (30, 60, 75, 90), strict=True)
    ]
    below = [codec_of_a_form.decode(stream, 0) for stream in streams]
    box = Box(20, 31, 170, 200)
    whole_layers = codec_of_a_form.decode_batch(streams)
    regions = codec_of_a_form.decode_batch(streams, 1, box, (0, below))
    for stream, layer, region in zip(streams, whole_layers, regions, strict=True):
        assert np.abs(layer.astype(int) - codec_of_a_form.decode(stream)).max() <= 1
        assert np.abs(region.astype(int) - codec_of_a_form.decode(stream, 1, box)).max() <= 1


def test_streams_that_do_not_make_a_batch(tiny_codec, original, stream):
    other = tiny_codec.encode(original[:-1], [Size(original.shape[0] - 1, original.shape[1])], 50)
    with pytest.raises(ValueError, match="cannot be decoded in one batch"):
        tiny_codec.decode_batch([stream, other])
    with pytest.raises(ValueError, match="not the pixels"):
        tiny_codec.decode_batch([stream, stream], 1, start=(0, [tiny_codec.decode(stream, 0)]))


CHILD = """
import sys
import numpy as np
import torch
from pathlib import Path
from model.codec.codec import Codec
codec, stream = Codec.load(sys.argv[1]), Path(sys.argv[2]).read_bytes()
found = {}
for k in range(3):
    found[f"latents {k}"] = codec.latents(stream, k).numpy()
    found[f"pixels {k}"] = codec.decode(stream, k)
np.savez(sys.argv[3], **found)
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_another_process_decodes_the_same(tiny_codec, tiny_weights, stream, tmp_path, threads):
    """Whatever OMP_NUM_THREADS: the same latents, the same pixels."""
    (tmp_path / "picture.cmps").write_bytes(stream)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parents[3])}
    files = [str(tmp_path / name) for name in ("picture.cmps", "found.npz")]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(tiny_weights), *files], env=environment, check=True
    )
    found = np.load(files[-1])
    for k in range(3):
        assert np.array_equal(found[f"latents {k}"], tiny_codec.latents(stream, k).numpy())
        assert np.array_equal(found[f"pixels {k}"], tiny_codec.decode(stream, k))


def test_every_stage_is_timed(tiny_codec, original, stream):
    clock = StageClock()
    tiny_codec.decode(stream, clock=clock)
    assert clock.seconds.keys() == {"priors", "entropy", "prediction", "synthesis"}
    clock = StageClock()
    tiny_codec.encode(original, [Size(61, 97), Size(290, 400)], 60, clock=clock)
    stages = {"analysis", "priors", "rounding", "entropy", "prediction", "synthesis", "check"}
    assert clock.seconds.keys() == stages
    assert min(clock.seconds.values()) > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.slow
def test_latents_on_cuda(tiny_codec, tiny_weights):
    """The same latents on a graphics card; pixels within 1, layer by layer."""
    cuda = Codec.load(str(tiny_weights), device="cuda")
    for seed, (h, w) in enumerate(SIZES_OF_100):
        stream = tiny_codec.encode(picture(w, h, seed), ladder(w, h), 1 + seed % 100)
        back = cuda.encode(picture(w, h, seed), ladder(w, h), 1 + seed % 100)
        for data in (stream, back):
            for k in range(len(read_header(data).layers)):
                expected = tiny_codec.latents(data, k)
                assert torch.equal(cuda.latents(data, k).cpu(), expected)
                start = (k - 1, tiny_codec.decode(data, k - 1)) if k else None
                difference = cuda.decode(data, k, start=start).astype(int) - tiny_codec.decode(data, k)
                assert np.abs(difference).max() <= 1


def test_hostile_latents_do_not_crash(tmp_path):
    """Weights that overflow float32 give some pixels, not an error."""
    network = initialise(TINY, 1)
    with torch.no_grad():
        network.base.log_inverse_gain += 60
    path = tmp_path / "loud.safetensors"
    export(network, path)
    codec = Codec.load(str(path))
    assert codec.decode(codec.encode(picture(40, 30), [Size(30, 40)], 50)).shape == (30, 40, 3)


def test_serving_needs_neither_compressai_nor_torchvision():
    """They take longer to import than all the rest: only training does."""
    heavy = "{'compressai', 'torchvision', 'scipy.stats'}"
    code = f"import sys, model.codec.codec; print(*({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert found.stdout.split() == []


def test_a_prediction_goes_before_the_next_one_is_made(tiny_codec, original, monkeypatch):
    """Of a large picture it is hundreds of megabytes."""
    predict, made = type(tiny_codec.layers).predict, []

    def counted(layers, below, size):
        gc.collect()
        assert not any(one() for one in made)
        source = predict(layers, below, size)
        made.append(weakref.ref(source))
        return source

    monkeypatch.setattr(type(tiny_codec.layers), "predict", counted)
    tiny_codec.encode(original, SIZES, 60)
    assert len(made) == 2
