"""Streams of the past decode as they did: see tests/golden/README.md."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import model.codec.latents
from model.codec import graphics
from model.codec.codec import Codec
from model.network.priors import FRACTION
from model.stream.container import NO_MODEL, read_header, verify
from model.stream.entropy import decode_all

FOLDER = Path(__file__).parents[2] / "golden"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
CODED = [name for name, entry in MANIFEST.items() if entry["weights"]]
"""Those that are layers of the network."""
DRAWN = [path.stem.rsplit("-", 1) for path in sorted(FOLDER.glob("*.png"))]
"""The pictures kept: stream and layer."""


@pytest.fixture(scope="module")
def codecs():
    """By the name of their weights."""
    return {path.stem: Codec.load(str(path)) for path in FOLDER.glob("*.safetensors")}


@pytest.fixture
def codec(codecs, name):
    """The codec that the stream ``name`` was coded with; of a graphic, any."""
    return codecs[MANIFEST[name]["weights"] or "tiny"]


def read(name):
    return (FOLDER / f"{name}.cmps").read_bytes()


def latents(codec, stream, layer):
    """A layer's latents as integers in units of 2^-8."""
    return (codec.latents(stream, layer)[0].double() * 2**FRACTION).to(torch.int32).contiguous().numpy()


def test_the_manifest_names_every_stream():
    assert {path.stem for path in FOLDER.glob("*.cmps")} == set(MANIFEST)


@pytest.mark.parametrize("name", MANIFEST)
def test_streams_are_untouched(codec, name):
    """Bytes that changed here would make the other tests worthless."""
    assert hashlib.sha256(read(name)).hexdigest() == MANIFEST[name]["sha256"]
    header = verify(read(name))
    assert header.model_id == (NO_MODEL if header.is_graphic else codec.model_id)


@pytest.mark.parametrize("name", CODED)
def test_latents_are_those_of_the_past(codec, name):
    stream, expected = read(name), MANIFEST[name]["latents"]
    assert len(read_header(stream).layers) == len(expected)
    for k, digest in enumerate(expected):
        data = latents(codec, stream, k).astype("<i4").tobytes()
        assert hashlib.sha256(data).hexdigest() == digest


@pytest.mark.parametrize("name", ["tiles"])
def test_the_streams_are_worth_keeping(codec, name, monkeypatch):
    """Symbols from many tables, skipped ones and escapes among them."""
    tables, seen = codec.weights.latent_tables, []

    def recorded(strings, indexes, tables):
        symbols = decode_all(strings, indexes, tables)
        seen.extend(
            (index.ravel(), part.ravel(), tables) for index, part in zip(indexes, symbols, strict=True)
        )
        return symbols

    monkeypatch.setattr(model.codec.latents, "decode_all", recorded)
    assert len(np.unique(latents(codec, read(name), 1))) > 1000
    indexes = np.concatenate([i for i, _, used in seen if used is tables])
    symbols = np.concatenate([s for _, s, used in seen if used is tables])
    assert len(np.unique(indexes)) > 30
    assert 0.01 < np.mean(indexes < tables.skip) < 0.5
    lowest = tables.offsets[indexes].astype(int)
    escapes = (symbols < lowest) | (symbols > lowest + tables.lengths[indexes] - 2)
    assert 0.005 < np.mean(escapes & (indexes >= tables.skip)) < 0.5


@pytest.mark.parametrize(("name", "layer"), DRAWN)
def test_pixels_are_within_1(codec, name, layer):
    """Each layer by itself: the one below is taken from the past as well."""

    def past(k):
        return np.asarray(Image.open(FOLDER / f"{name}-{k}.png"))

    layer = int(layer)
    start = (layer - 1, past(layer - 1)) if layer else None
    decoded = codec.decode(read(name), layer, start=start)
    assert np.abs(decoded.astype(int) - past(layer)).max() <= 1


def test_what_was_kept_without_loss_is_exact():
    past = np.asarray(Image.open(FOLDER / "lossless-0.png"))
    assert np.array_equal(graphics.decode(read("lossless")), past)
