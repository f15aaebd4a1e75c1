"""The benchmark of batches, and how it counts operations."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed.batches import main, operations
from model.codec.codec import Codec
from model.geometry import Size
from tests.model.tiny import TINY


def test_operations_grow_with_the_layers(tiny_weights):
    codec = Codec.load(str(tiny_weights))
    one, two = operations(codec, [Size(48, 64)]), operations(codec, [Size(48, 64), Size(96, 128)])
    # the last transposed convolution alone: 25 taps of N inputs for 3 outputs at half the size
    assert one > 2 * 25 * 3 * TINY.channels * 32 * 24
    assert two > 5 * one


@pytest.mark.slow
def test_whole(tmp_path, capsys):
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    main(["--data", str(tmp_path), "--quick", "--batches", "1", "2", "--out", str(tmp_path / "out")])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["operations"] > 0
    for figures in result["batches"].values():
        assert figures["p50_seconds"] > 0
        assert figures["pictures_per_second"] > 0
        assert figures["share_of_peak"] > 0
