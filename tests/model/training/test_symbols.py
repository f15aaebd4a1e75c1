"""Symbols are counted as the entropy coder sees them, and tables fitted to them take fewer bytes."""

import numpy as np
import pytest
import torch

from model.codec.codec import Codec
from model.codec.weights import load
from model.geometry import Size
from model.training import export as module
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


@pytest.mark.parametrize("at", ["count_symbols", "save_file"])
def test_an_export_that_is_broken_off_leaves_the_weights_as_they_were(
    network, pictures, tmp_path, monkeypatch, at
):
    """Nor are unfitted weights to be seen meanwhile, with which a worker would code."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    save_file = module.save_file

    def counted(*arguments):
        assert path.read_bytes() == b"old"
        if at == "count_symbols":
            raise KeyboardInterrupt
        monkeypatch.setattr(module, "save_file", half_saved)
        return np.zeros((len(begun_tables()), 1025), np.int64)

    def half_saved(*arguments):
        save_file(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "count_symbols", counted)
    with pytest.raises(KeyboardInterrupt):
        export_fitted(network, path, (), pictures)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_fitted_tables_take_fewer_bytes_and_change_no_pixel(network, pictures, tmp_path, monkeypatch):
    """Of the same symbols: bits that a symbol takes are weighed where it is rounded."""
    monkeypatch.setattr("model.codec.rounding.UNDECIDED", 1.0)
    plain, fitted = tmp_path / "plain.safetensors", tmp_path / "fitted.safetensors"
    assert export(network, plain) != export_fitted(network, fitted, (), pictures)
    one, other = Codec(load(plain)), Codec(load(fitted))
    assert other.weights.latent_tables.skip == begun_tables().skip
    pixels, sizes = picture(200, 150, 5), [Size(75, 100), Size(150, 200)]
    before, after = one.encode(pixels, sizes, 50), other.encode(pixels, sizes, 50)
    assert len(after) < len(before)
    assert np.array_equal(one.decode(before), other.decode(after))
