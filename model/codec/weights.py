"""Weight files: safetensors holding the network, the integer priors and the entropy tables.

Where they lie, and what names them: :mod:`model.installed`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.errors import WeightsError
from model.installed import model_id
from model.network.compass import SCALE_COUNT, SCALE_HIGH, SCALE_LOW, Compass
from model.network.config import Config
from model.network.priors import IntegerHyperSynthesis
from model.stream.entropy import Tables

PARTS = ("base", "enhancement")


@dataclass(frozen=True)
class Prior:
    """What entropy coding needs of one hyperprior."""

    synthesis: IntegerHyperSynthesis
    tables: Tables


@dataclass(frozen=True)
class Weights:
    """A loaded weight file: the network in float32, evaluation mode, and its exact priors."""

    model_id: bytes
    config: Config
    network: Compass
    priors: dict[str, Prior]
    latent_tables: Tables


def scale_table() -> np.ndarray:
    """The Gaussian scales (SCALE_COUNT,), geometric."""
    return np.geomspace(SCALE_LOW, SCALE_HIGH, SCALE_COUNT)


def load(path: Path) -> Weights:
    """Read and check a weight file; raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = Config.from_dict(meta["config"])
        network = Compass(config)
        state = {
            _renamed(name): weight.float()
            for name, weight in _below(tensors, "weights").items()
            if ".bottleneck." not in name
        }
        missing = network.load_state_dict(state, strict=False)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{path} is not a weight file: {error}") from error
    expected = {name for name, _ in network.named_parameters()}
    absent = sorted(expected & set(missing.missing_keys))
    if absent or missing.unexpected_keys:
        raise WeightsError(f"{path}: missing {absent}, unexpected {missing.unexpected_keys}")
    priors = {
        part: Prior(
            IntegerHyperSynthesis.from_arrays(_below(tensors, f"prior.{part}")),
            _tables(_below(tensors, f"tables.{part}")),
        )
        for part in PARTS
    }
    latent_tables = _tables(_below(tensors, "tables.latent"))
    for prior in priors.values():
        shape = prior.synthesis.shape, len(prior.tables), len(latent_tables)
        if shape != ((config.channels, config.latents), config.channels, SCALE_COUNT):
            raise WeightsError(f"{path}: priors and tables of another shape {shape}")
    for part, prior in priors.items():
        getattr(network, part).center.copy_(prior.synthesis.centers())
    return Weights(model_id(path), config, network.eval().requires_grad_(False), priors, latent_tables)


def _renamed(name: str) -> str:
    """Files written before 2026-11-25 keep the transforms beside the gains, not in a module of their own."""
    return re.sub(r"^(base|enhancement)\.((?:analysis|synthesis)(?:_norms)?\.)", r"\1.transforms.\2", name)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _tables(tensors: dict[str, Tensor]) -> Tables:
    try:
        arrays = {k: v.numpy() for k, v in tensors.items()}
    except TypeError as error:
        raise WeightsError(f"entropy tables: {error}") from error
    return Tables.from_arrays(arrays)
