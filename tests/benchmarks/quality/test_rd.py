"""The benchmarks whole, with a real codec of small, untrained weights."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.measure import ours
from benchmarks.measure.cache import Cache
from benchmarks.measure.classic import ClassicCodec
from benchmarks.measure.curves import Curve
from benchmarks.measure.ours import Meter, scaled
from benchmarks.measure.pictures import Picture
from benchmarks.quality import figures, rd, scalable
from benchmarks.quality.publication import REPORTED
from benchmarks.quality.scalable import SECTIONS, Ladder, even_steps, reported
from model.codec.codec import Codec
from model.codec.refine import Effort
from model.codec.weights import load
from model.geometry import Size
from model.network.config import Config
from model.stream.container import read_header
from model.training.export import export
from model.training.network import initialise

SMALL = Config(
    channels=8, latents=12, features=4, blocks=1, convs=1, growth=4, hidden=8, hidden_layers=1, levels=3
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    export(initialise(SMALL), path)
    return path


@pytest.fixture(scope="module")
def pixels():
    x, y = np.meshgrid(np.arange(90), np.arange(60))
    return np.stack([2 * x, 4 * y, x + y], axis=-1).astype(np.uint8)


@pytest.fixture
def data(tmp_path, pixels):
    folder = tmp_path / "data"
    folder.mkdir()
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(pixels[::-1]).save(folder / "b.png")
    return folder


@pytest.fixture
def anchors(tmp_path):
    folder = tmp_path / "anchors"
    folder.mkdir()
    flat = {"results": {"bpp": [0.1, 20.0], "psnr-rgb": [1.0, 59.0]}}
    (folder / "compressai-mbt2018-mean_mse_cuda.json").write_text(json.dumps(flat))
    (folder / "jpeg.json").write_text(json.dumps(flat))
    return folder


def test_layers_are_measured_from_the_stream(weights, pixels, tmp_path):
    codec = Codec.load(str(weights))
    picture = Picture("p", pixels)
    sizes = [Size(20, 30), Size(60, 90)]
    measured = Meter(codec, Cache(tmp_path / "cache")).layers(picture, sizes, 60)
    stream = codec.encode(pixels, sizes, 60)
    assert [size for size, _ in measured] == [layer.end for layer in read_header(stream).layers]
    assert measured[-1][0] == len(stream)
    small = scaled(picture, Size(20, 30)).pixels.astype(float)
    errors = [
        np.mean((codec.decode(stream, k) - truth) ** 2) for k, truth in enumerate([small, pixels * 1.0])
    ]
    assert [psnr for _, psnr in measured] == pytest.approx(
        [10 * np.log10(255**2 / e) for e in errors], abs=1e-6
    )


def test_searched_streams_are_measured_apart(weights, pixels, tmp_path):
    codec, cache = Codec.load(str(weights)), Cache(tmp_path / "cache")
    picture, sizes = Picture("p", pixels), [Size(60, 90)]
    plain, searched = (Meter(codec, cache, steps).layers(picture, sizes, 60) for steps in (0, 20))
    stream = codec.encode(pixels, sizes, 60, effort=Effort(20))
    assert searched[-1][0] == len(stream) <= plain[-1][0]
    assert Meter(codec, cache).layers(picture, sizes, 60) == plain


def test_what_another_precision_gave_is_measured_again(weights, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "measure", lambda codec, *_: [[1, float(codec.dtype.itemsize)]])
    codecs = [Codec(load(weights), dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    cache = Cache(tmp_path / "cache")
    measured = [Meter(codec, cache).layers(Picture("p", pixels), [Size(60, 90)], 60) for codec in codecs]
    assert measured == [[[1, 4.0]], [[1, 2.0]]]


def test_bench_rd_whole(weights, data, anchors, tmp_path, capsys):
    out = tmp_path / "out"
    rd.main(["--data", str(data), "--profile", str(weights), "--anchors", str(anchors), "--out", str(out)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(result["bd_rate"]) == {"jpeg", "webp", "avif", "jpeg2000", "published jpeg", "mbt2018-mean"}
    assert len(result["curve"]) == len(rd.QUALITIES)
    assert result["pictures"] == 2
    codec = Codec.load(str(weights))
    pictures = [np.asarray(Image.open(data / name)) for name in ("a.png", "b.png")]
    sizes = [len(codec.encode(pixels, [Size(60, 90)], rd.QUALITIES[0])) for pixels in pictures]
    assert result["curve"][0][0] == pytest.approx(sum(sizes) * 8 / (2 * 90 * 60), abs=1e-5)
    assert (out / "rd.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "rd.json").read_text()) == result


@pytest.mark.slow
def test_bench_scalable_whole(weights, data, anchors, tmp_path, capsys):
    out = tmp_path / "out"
    common = ["--data", str(data), "--profile", str(weights), "--anchors", str(anchors), "--out", str(out)]
    scalable.main([*common, "--quick", "--pictures", "1"])
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert set(result["bd_rate"]) == {"1 : 2", "1 : 2 : 4", "1 : 2 : 6", "1 : 1.6 : 3.2", even_steps(6).name}
    rivals = {f"{name} {way}" for name in ("avif", "webp", "jpeg") for way in ("simulcast", "single")}
    for rates in result["bd_rate"].values():
        assert set(rates) == rivals | {"single layer", "simulcast", "mbt2018-mean", "avif matched"}
    assert "4.74 |" in printed, "the paper's figure for 1 : 2 : 4 against a single layer"
    assert "-22.90 |" in printed, "and against simulcast"
    assert (out / "three_layers.png").exists()
    assert (out / "three_layers_twice.png").exists()


@pytest.mark.slow
def test_figures_of_a_profile(weights, data, anchors, tmp_path, monkeypatch):
    """What docs/figures.py needs, from the same benchmarks: each figure is theirs."""
    monkeypatch.setattr(figures, "LADDERS", {name: figures.LADDERS[name] for name in ("three", "far")})
    out, folder = tmp_path / "out", tmp_path / "figures"
    common = ["--data", str(data), "--profile", str(weights), "--anchors", str(anchors), "--out", str(out)]
    figures.main([*common, "--figures", str(folder)])
    found = json.loads((folder / "small.json").read_text())
    assert found["one"]["bd_rate"] == json.loads((out / "rd.json").read_text())["bd_rate"]
    assert [quality for quality, *_ in found["one"]["points"]] == [*rd.QUALITIES]
    assert found["layers"] == json.loads((out / "layers.json").read_text())["layers"]
    far = json.loads((out / "scalable.json").read_text())["bd_rate"]
    assert set(found["ladders"]["far"]["bd_rate"]) == set(far)
    rates = found["ladders"]["far"]["bd_rate"]["1 : 2 : 6"]
    assert rates == far["1 : 2 : 6"] | reported(Ladder((1, 2, 6.0)))
    assert "mbt2018-mean" in found["ladders"]["three"]["bd_rate"]["1 : 2 : 4"]


@pytest.mark.slow
def test_measured_in_processes_then_known(weights, data, tmp_path, capsys, monkeypatch):
    """Two processes fill the caches: after them nothing is coded again, and the figures are the same."""
    common = ["--data", str(data), "--profile", str(weights), "--device", "cpu", "--quick", "--only", "two"]
    common += ["--qualities", "90", "20"]

    def result(*options):
        scalable.main([*common, *options])
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    alone = result("--out", str(tmp_path / "alone"))
    with monkeypatch.context() as patch:
        patch.setattr(ours, "measure", None)
        patch.setattr(ClassicCodec, "encode", None)
        assert result("--out", str(tmp_path / "shared"), "--jobs", "2") == alone
    assert len(alone["curve"]["1 : 2"]) == 2


def test_processes_are_no_option_of_a_benchmark_that_has_one(capsys):
    with pytest.raises(SystemExit):
        rd.main(["--data", "photos", "--jobs", "2"])
    assert "unrecognized arguments: --jobs" in capsys.readouterr().err


def test_falling_bytes_or_psnr_are_named():
    pictures = [Picture(name, np.zeros((1, 1, 3), np.uint8)) for name in "ab"]
    rows = {
        10: [[[100, 30.0]], [[90, 30.0]]],
        20: [[[120, 31.0]], [[95, 29.5]]],
        30: [[[120, 32.0]], [[99, 31.0]]],
    }
    assert list(rd.falls(pictures, rows)) == [
        "b, quality 10 to 20: PSNR 30 to 29.5",
        "a, quality 20 to 30: bytes 120 to 120",
    ]


def test_an_anchor_does_not_hide_what_was_measured():
    live, anchor = Curve("jpeg", ((1.0, 30.0),)), Curve("jpeg", ((2.0, 31.0),))
    assert [(c.name, c.points) for c in rd.with_distinct_names([live], [anchor])] == [
        ("jpeg", live.points),
        ("published jpeg", anchor.points),
    ]


def test_sizes_of_a_ladder():
    assert Ladder((1, 2, 4)).sizes(Size(512, 768)) == [Size(128, 192), Size(256, 384), Size(512, 768)]
    assert Ladder((1, 2, 2.4)).sizes(Size(512, 768)) == [Size(213, 320), Size(427, 640), Size(512, 768)]
    assert Ladder((1,)).sizes(Size(7, 5)) == [Size(7, 5)]
    assert Ladder((1, 2, 4)).sizes(Size(2, 1)) == [Size(1, 1), Size(1, 1), Size(2, 1)]


def test_every_ladder_of_the_paper_is_beside_our_own():
    ours = {ladder.factors for section in SECTIONS.values() for ladder in section.ladders}
    assert set(REPORTED) <= ours
    assert reported(Ladder((1, 2, 4.0))) == {"paper: single layer": 4.74, "paper: simulcast": -22.9}
    assert set(reported(even_steps(9)).values()) == {None}
    assert [len(even_steps(n).sizes(Size(512, 768))) for n in (4, 9)] == [4, 9]
    assert even_steps(9).sizes(Size(512, 768))[0] == Size(128, 192)
