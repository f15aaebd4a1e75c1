"""The comparison of integer with floating-point priors, with a real codec of small weights."""

import json
from itertools import pairwise

import numpy as np
import torch
from PIL import Image

from benchmarks.quality import priors
from model.codec.codec import Codec
from model.geometry import Box, Size, halved
from tests.model.tiny import picture


def test_both_priors_are_nearly_the_same(tiny_weights):
    """Indexes at most one apart, means within the fixed point's steps; a box is a crop of the whole."""
    size = Size(150, 190)
    exact = Codec.load(str(tiny_weights)).layers.priors["enhancement"].synthesis
    floating = priors.with_float_priors(str(tiny_weights)).layers.priors["enhancement"].synthesis
    z = torch.randint(-4, 5, (4, *halved(size, 6)), generator=torch.Generator().manual_seed(1))
    window, box = Box(0, 0, *halved(size, 6)), Box(2, 1, 9, 12)
    (index, mean), (float_index, float_mean) = exact(z, window, box, size), floating(z, window, box, size)
    assert index.shape == float_index.shape == (6, *box.size)
    assert (index.int() - float_index.int()).abs().max() <= 1
    assert (index == float_index).float().mean() > 0.9
    assert 0 < (mean - float_mean).abs().max() < 16


def test_both_codecs_run_on_the_device_that_is_named(tiny_weights, tmp_path, monkeypatch):
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.png")
    load, devices = Codec.load, []

    def seen(profile, device=None, threads=None):
        devices.append(device)
        return load(profile)

    monkeypatch.setattr(Codec, "load", seen)
    common = ["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path / "out")]
    priors.main([*common, "--device", "cuda:7"])
    assert devices == ["cuda:7", "cuda:7"]


def test_whole(tiny_weights, tmp_path, capsys):
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    priors.main(["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(out)])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert np.isfinite(figures["bd_rate"]["float priors"])
    assert len(figures["curve"]) == len(priors.QUALITIES)
    assert all(low[0] < high[0] for low, high in pairwise(figures["curve"]))
