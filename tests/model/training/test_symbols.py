"""Symbols are counted as the entropy coder sees them, and tables fitted to them take fewer bytes."""

import numpy as np
import pytest
import torch

from model.codec.codec import Codec
from model.codec.weights import load
from model.geometry import Size
from model.training.data import Pictures
from model.training.export import begun_tables, export, export_fitted
from model.training.symbols import count_symbols
from tests.model.tiny import TINY_PATCHES, lively_network, picture


@pytest.fixture(scope="module")
def pictures():
    """Two pictures that crops are drawn from."""
    return Pictures([torch.from_numpy(picture(420, 400, seed)) for seed in (1, 2)], torch.device("cpu"))


@pytest.fixture(scope="module")
def network():
    """Random weights whose latents are anything but Gaussian."""
    return lively_network(TINY_PATCHES)


def test_every_coded_symbol_is_counted(network, pictures, tmp_path):
    export(network, tmp_path / "weights.safetensors")
    codec = Codec(load(tmp_path / "weights.safetensors"))
    counts = count_symbols(codec, pictures, crops=1)
    latents = TINY_PATCHES.latents
    assert latents * 24 * 24 < counts.sum() < latents * 3 * 24 * 24
    assert not np.delete(counts[: codec.weights.latent_tables.skip], 512, 1).any()  # these are not coded: 0
    assert np.array_equal(counts, count_symbols(codec, pictures, crops=1))


@pytest.mark.slow
def test_fitted_tables_take_fewer_bytes_and_change_no_pixel(network, pictures, tmp_path):
    plain, fitted = tmp_path / "plain.safetensors", tmp_path / "fitted.safetensors"
    assert export(network, plain) != export_fitted(network, fitted, (), pictures)
    one, other = Codec(load(plain)), Codec(load(fitted))
    assert other.weights.latent_tables.skip == begun_tables().skip
    pixels, sizes = picture(200, 150, 5), [Size(75, 100), Size(150, 200)]
    before, after = one.encode(pixels, sizes, 50), other.encode(pixels, sizes, 50)
    assert len(after) < len(before)
    assert np.array_equal(one.decode(before), other.decode(after))
