"""The ablations: the padded codec against the ordinary one, and the whole command at a tiny size."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.quality import ablations
from benchmarks.quality.ablations import PaddedCodec
from model.codec.codec import Codec
from model.codec.weights import load
from model.geometry import Size
from model.training import trainer
from model.training.stages import Recipe
from tests.model.tiny import picture


def test_where_nothing_is_to_pad_both_codecs_agree(tiny_weights):
    plain, padding = Codec.load(str(tiny_weights)), PaddedCodec(load(tiny_weights))
    pixels, sizes = picture(128, 192), [Size(128, 64), Size(192, 128)]
    streams = [codec.encode(pixels, sizes, 50) for codec in (plain, padding)]
    for layer in range(2):
        latents = [
            codec.latents(stream, layer) for codec, stream in zip((plain, padding), streams, strict=True)
        ]
        assert latents[0].shape == latents[1].shape
        assert (latents[0] == latents[1]).float().mean() > 0.99
    decoded = [codec.decode(stream) for codec, stream in zip((plain, padding), streams, strict=True)]
    assert np.abs(decoded[0].astype(int) - decoded[1]).mean() < 1


def test_padding_codes_more_latents_and_gives_the_picture(tiny_weights):
    padding = PaddedCodec(load(tiny_weights))
    pixels, sizes = picture(101, 70), [Size(35, 50), Size(70, 101)]
    stream = padding.encode(pixels, sizes, 50)
    assert padding.latents(stream, 0).shape[2:] == (4, 4)
    assert padding.latents(stream, 1).shape[2:] == (8, 8)
    assert padding.decode(stream, 0).shape == (35, 50, 3)
    assert padding.decode(stream, 1).shape == pixels.shape
    assert len(stream) > len(Codec.load(str(tiny_weights)).encode(pixels, sizes, 50))


@pytest.mark.slow
def test_whole(tiny_weights, tmp_path, monkeypatch, capsys):
    """Few steps: the trainings differ, the bicubic one predicts as bicubic does, all are measured."""
    monkeypatch.setattr(trainer, "validate", lambda network, recipe, held_out: {"loss": 0.0})
    joint = Recipe("joint", batch=1, side=64)
    monkeypatch.setitem(ablations.TRAINED, "full", joint)
    for name, changes in (("bicubic prediction", {"stage": "residual"}), ("noisy latents", {"noisy": True})):
        monkeypatch.setitem(ablations.TRAINED, name, Recipe(**(joint.__dict__ | changes)))
    for folder, count in (("photos", 18), ("data", 1)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            Image.fromarray(picture(100, 90, number)).save(tmp_path / folder / f"{number}.png")
    common = ["--data", str(tmp_path / "data"), "--photos", str(tmp_path / "photos"), "--device", "cpu"]
    out = tmp_path / "out"
    ablations.main([*common, "--profile", str(tiny_weights), "--steps", "2", "--out", str(out)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(result["bd_rate"]) == {"bicubic prediction", "noisy latents", "padding to 64"}
    assert {len(curve) for curve in result["curves"].values()} == {len(ablations.QUALITIES)}
    assert len({json.dumps(curve) for curve in result["curves"].values()}) == 4
    bicubic = Codec.load(str(out / "bicubic prediction.safetensors"))
    small = picture(20, 15)
    tensor = torch.from_numpy(small).permute(2, 0, 1)[None] / 255
    expected = torch.nn.functional.interpolate(tensor, (30, 40), mode="bicubic").clamp(0, 1) * 255
    difference = bicubic.enlarge(small, Size(30, 40)) - expected[0].permute(1, 2, 0).numpy()
    assert np.abs(difference).max() <= 0.51
