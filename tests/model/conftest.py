"""One small codec for all tests of the model, and one thread: the tests' machine has other work too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.codec.codec import Codec
from model.training.export import export
from tests.model.tiny import lively_network


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Let torch use one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weight file of a small random network."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    export(lively_network(), path)
    return path


@pytest.fixture(scope="session")
def tiny_codec(tiny_weights: Path) -> Codec:
    """A codec of a small random network."""
    return Codec.load(str(tiny_weights))
