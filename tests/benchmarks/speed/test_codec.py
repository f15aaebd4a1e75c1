"""The benchmark of speed whole, on a small network; and that what it compares with does the same work."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.speed import codec as benchmark
from benchmarks.speed.plain import PlainCodec, literal_liff
from model.clock import StageClock
from model.codec.codec import Codec
from model.geometry import Size
from model.training.export import export
from tests.model.tiny import TINY, lively_network, picture

SIZES = [Size(20, 30), Size(43, 61)]


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    path, network = tmp_path_factory.mktemp("weights") / "tiny.safetensors", lively_network()
    with torch.no_grad():  # scales too large to be skipped: the plain way skips nothing
        for hyperprior in (network.base, network.enhancement):
            hyperprior.hyper_synthesis[2].bias[: TINY.latents] += 6
    export(network, path)
    return Codec.load(str(path), threads=1)


def test_the_plain_way_gives_the_same_picture(codec):
    """But for priors in floating point and the layer below not in 8 bits."""
    pixels, plain = picture(61, 43), PlainCodec(codec.weights)
    layers = plain.encode(pixels, SIZES, 60, StageClock())
    theirs = plain.decode(layers, 60, StageClock()).astype(int)
    ours = codec.decode(codec.encode(pixels, SIZES, 60))
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).mean() < 2


def test_literal_liff(codec):
    liff, x = codec.layers.network.liff, torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        literal = literal_liff(liff, x, Size(20, 16))
        expected = liff(x, Size(20, 16)) - enlarged(x, Size(20, 16))
    assert (literal - expected).abs().max() < 2e-5


def enlarged(x, size):
    return torch.nn.functional.interpolate(x, size=size, mode="bicubic", align_corners=False)


def test_the_benchmark_whole(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "SIZES", (Size(43, 61),))
    monkeypatch.setattr(benchmark, "WIDTHS", (30,))
    monkeypatch.setattr(benchmark, "PROFILES", {"paper": TINY, "lite": TINY})
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
    Image.fromarray(picture(80, 60)).save(tmp_path / "a.png")
    threads = torch.get_num_threads()
    try:
        benchmark.main(["--data", str(tmp_path), "--rounds", "1"])
    finally:
        torch.set_num_threads(threads)
    text = capsys.readouterr().out
    assert "untrained" in text
    figures = json.loads(text.splitlines()[-1])
    assert figures["benchmark"] == "codec"
    for profile in ("paper", "lite"):
        row = figures[f"{profile} 61x43"]
        assert row["plain_over_ours"] > 0
        assert row["seconds"]["decode"].keys() >= {"entropy", "priors", "prediction", "synthesis", "all"}
    assert figures["formats 61x43"].keys() >= {"avif", "webp", "jpeg2000"}
