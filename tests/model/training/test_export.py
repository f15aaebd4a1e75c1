"""The command that makes a weight file of training runs."""

import pytest
from torch import nn

from model.codec.weights import load
from model.errors import WeightsError
from model.training import export as module
from model.training.export import export
from tests.golden.write import CONFIG
from tests.model.tiny import lively_network


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether all weights are equal."""
    others = other.state_dict()
    return all(weight.equal(others[name]) for name, weight in one.state_dict().items())


def test_the_base_layer_of_one_run_under_the_enhancement_layer_of_another(tmp_path):
    enhancement, base = lively_network(CONFIG, seed=1), lively_network(CONFIG, seed=2)
    export(enhancement, tmp_path / "lite.safetensors")  # a weight file is a checkpoint too
    export(base, tmp_path / "base.safetensors")
    out = tmp_path / "out.safetensors"
    module.main(["--runs", str(tmp_path), "--base", str(tmp_path / "base.safetensors"), "--out", str(out)])
    made, of_run, of_base = (
        load(tmp_path / f"{name}.safetensors").network for name in ("out", "lite", "base")
    )
    assert same(made.base, of_base.base)
    assert not same(made.base, of_run.base)
    assert same(made.enhancement, of_run.enhancement)
    assert same(made.liff, of_run.liff)


def test_a_base_layer_that_is_no_checkpoint(tmp_path):
    export(lively_network(CONFIG), tmp_path / "lite.safetensors")
    (tmp_path / "base.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError):
        module.main(["--runs", str(tmp_path), "--base", str(tmp_path / "base.safetensors"), "--out", "x"])
