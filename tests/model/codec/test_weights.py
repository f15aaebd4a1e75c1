"""Weight files: written, found, and refused if they are not what they should be."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from model.codec.weights import load
from model.errors import WeightsError
from model.installed import model_id, path_of_profile
from model.network.compass import SCALE_COUNT
from model.stream.container import MODEL_ID_BYTES
from model.stream.entropy import PRECISION
from model.training.export import export, hyper_tables
from model.training.network import SKIPPED_TABLES
from tests.model.tiny import TINY, lively_network


def contents(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture
def changed(tiny_weights, tmp_path):
    """Writes the tiny weight file with changed tensors or other metadata."""

    def write(change=None, metadata=None):
        tensors, old = contents(tiny_weights)
        if change is not None:
            change(tensors)
        path = tmp_path / "changed.safetensors"
        save_file(tensors, path, old if metadata is None else metadata)
        return path

    return write


def test_what_is_exported_is_loaded(tiny_weights):
    network, weights = lively_network(), load(tiny_weights)
    assert weights.config == TINY
    assert weights.model_id == model_id(tiny_weights)
    assert len(weights.model_id) == MODEL_ID_BYTES
    assert not weights.network.training
    loaded = dict(weights.network.named_parameters())
    assert {name for name, _ in network.named_parameters() if ".bottleneck." not in name} == set(loaded)
    for name, value in network.named_parameters():
        if name in loaded:
            assert torch.equal(loaded[name], value if "gain" in name else value.half().float()), name
    for part in ("base", "enhancement"):
        trained, center = getattr(network, part).medians(), getattr(weights.network, part).medians()
        assert torch.equal(center, torch.round(trained * 256) / 256)
    assert all(value.dtype == torch.float32 for value in loaded.values())


def test_export_is_reproducible(tiny_weights, tmp_path):
    assert export(lively_network(), tmp_path / "again.safetensors") == model_id(tiny_weights)
    assert list(tmp_path.iterdir()) == [tmp_path / "again.safetensors"]


def test_tables(tiny_weights):
    weights = load(tiny_weights)
    assert len(weights.latent_tables) == SCALE_COUNT
    assert weights.latent_tables.skip == SKIPPED_TABLES
    for prior in weights.priors.values():
        assert len(prior.tables) == TINY.channels
        assert prior.tables.skip == 0


def test_hyper_tables_follow_the_bottleneck():
    """The likelihood of each symbol is the one that training minimised."""
    network = lively_network().eval()
    tables = hyper_tables(network.base)
    channel = 2
    start = int(tables.lengths[:channel].sum())
    frequencies = tables.frequencies[start : start + tables.lengths[channel] - 1] / 2**PRECISION
    symbols = torch.arange(len(frequencies)) + int(tables.offsets[channel])
    z = torch.zeros(1, TINY.channels, 1, len(symbols))
    z[0, channel, 0] = symbols + network.base.medians()[0, channel, 0]
    with torch.no_grad():
        _, likelihood = network.base.bottleneck(z)
    assert likelihood[0, channel, 0].numpy() == pytest.approx(frequencies, abs=1e-3)


@pytest.mark.parametrize("size", [0, 4, 7, 8, 100, 5000, -1])
def test_cut_files(tiny_weights, tmp_path, size):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(tiny_weights.read_bytes()[:size])
    with pytest.raises(WeightsError):
        load(path)


@pytest.mark.parametrize("data", [b"not a weight file at all", b"\xff" * 100, bytes(1000)])
def test_other_files(tmp_path, data):
    path = tmp_path / "other.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError):
        load(path)


def test_missing_files(tmp_path):
    with pytest.raises(WeightsError):
        load(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError):
        model_id(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError):
        path_of_profile("none", tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"run": "{"},
        {"run": "[]"},
        {"run": "{}"},
        {"run": json.dumps({"config": None})},
        {"run": json.dumps({"config": {"colour": 3}})},
        {"run": json.dumps({"config": TINY.to_dict() | {"channels": 7}})},
        {"run": json.dumps({"config": TINY.to_dict() | {"channels": 0}})},
        {"run": json.dumps({"config": TINY.to_dict() | {"channels": 2.5}})},
        {"run": json.dumps({"config": TINY.to_dict() | {"channels": -4}})},
    ],
)
def test_foreign_metadata(changed, metadata):
    with pytest.raises(WeightsError):
        load(changed(metadata=metadata))


def test_the_file_is_what_is_damaged_in_these_tests(changed):
    assert load(changed()).config == TINY


@pytest.mark.parametrize(
    "name",
    [
        "weights.liff.first.weight",
        "weights.base.transforms.analysis.0.bias",
        "weights.enhancement.log_gain",
        "prior.base.up1.weight",
        "prior.enhancement.medians",
        "tables.base.lengths",
        "tables.latent.frequencies",
        "tables.latent.skip",
    ],
)
def test_a_tensor_is_missing(changed, name):
    with pytest.raises(WeightsError):
        load(changed(lambda tensors: tensors.pop(name)))


def double_frequency(tensors):
    array = tensors["tables.latent.frequencies"].numpy()
    array[5] += 1


def wide_prior(tensors):
    tensors["prior.base.up1.bias"][:] = 2**60


def fewer_tables(tensors):
    whole = tensors["tables.base.lengths"]
    tensors["tables.base.lengths"] = whole[:-1].clone()
    tensors["tables.base.offsets"] = tensors["tables.base.offsets"][:-1].clone()
    tensors["tables.base.frequencies"] = tensors["tables.base.frequencies"][: -int(whole[-1])].clone()


def other_prior(tensors):
    for name in ("weight", "bias"):
        tensors[f"prior.base.up1.{name}"] = tensors[f"prior.base.index.{name}"].clone()


def one_mean_less(tensors):
    for name in ("weight", "bias"):
        tensors[f"prior.base.mean.{name}"] = tensors[f"prior.base.mean.{name}"][:-1].clone()


def half_tables(tensors):
    tensors["tables.latent.offsets"] = tensors["tables.latent.offsets"].bfloat16()


@pytest.mark.parametrize(
    "change", [double_frequency, wide_prior, fewer_tables, other_prior, one_mean_less, half_tables]
)
def test_priors_that_do_not_fit(changed, change):
    with pytest.raises(WeightsError):
        load(changed(change))
