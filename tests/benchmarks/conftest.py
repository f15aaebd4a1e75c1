"""What the tests of several benchmarks share."""

from pathlib import Path

import pytest

from model.training.export import export
from tests.golden.write import CONFIG
from tests.model.tiny import lively_network


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weight file of a very small random network."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    export(lively_network(CONFIG), path)
    return path
