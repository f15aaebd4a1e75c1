"""Weight files: safetensors holding the network, the integer priors and the entropy tables.

The file's SHA-256 names the model: its first 8 bytes stand in every stream. ``model/weights/``
holds ``<profile>.safetensors``, which new pictures are coded with, and older files that stored
streams may still need.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import Config
from model.container import MODEL_ID_BYTES
from model.entropy import Tables, gaussian_tables, quantise_pmf
from model.errors import UnknownModel, WeightsError
from model.integer import IntegerHyperSynthesis
from model.network import SCALE_COUNT, SCALE_HIGH, SCALE_LOW, Compass, Hyperprior

FOLDER = Path(__file__).parent / "weights"
SKIPPED_TABLES = 3
"""Latents whose scale is below about 0.14 of the quantiser's step are not coded."""
_HYPER_RANGE = 127
_PARTS = ("base", "enhancement")


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


def hyper_tables(hyperprior: Hyperprior) -> Tables:
    """Integer tables of the hyper-latent symbols, one a channel, from the trained bottleneck."""
    symbols = torch.arange(-_HYPER_RANGE, _HYPER_RANGE + 1, dtype=torch.float64)
    bottleneck = hyperprior.bottleneck
    edges = hyperprior.medians().double().cpu()[0, :, 0] + torch.cat([symbols - 0.5, symbols[-1:] + 0.5])
    double = {k: v.double().cpu() for k, v in bottleneck.state_dict().items()}
    with torch.no_grad():
        logits = torch.func.functional_call(_Cumulative(bottleneck), _prefixed(double), edges[:, None])
    cumulative = torch.sigmoid(logits[:, 0])
    pmf = (cumulative[:, 1:] - cumulative[:, :-1]).numpy()
    frequencies, offsets = [], []
    for row in pmf:
        kept = np.flatnonzero(row > 2.0**-13)
        low, high = (kept[0], kept[-1]) if len(kept) else (_HYPER_RANGE, _HYPER_RANGE)
        frequencies.append(quantise_pmf(row[low : high + 1]))
        offsets.append(low - _HYPER_RANGE)
    return Tables.from_frequencies(frequencies, offsets)


class _Cumulative(torch.nn.Module):
    """The bottleneck's cumulative logits as a module's forward."""

    def __init__(self, bottleneck: torch.nn.Module):
        super().__init__()
        self.bottleneck = bottleneck

    def forward(self, x: Tensor) -> Tensor:
        cumulative: Callable[..., Tensor] = self.bottleneck._logits_cumulative  # type: ignore[assignment]
        logits: Tensor = cumulative(x, stop_gradient=True)
        return logits


def _prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"bottleneck.{k}": v for k, v in state.items()}


def export(network: Compass, path: Path) -> bytes:
    """Write the weight file of a trained network and return its model id (8 bytes).

    Transforms are stored in half precision; priors and tables as integers, made from the float32
    weights.
    """
    tensors = {}
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.numel():
            exact = ".bottleneck." in name or "gain" in name
            tensors[f"weights.{name}"] = value.float() if exact else value.half()
    for part in _PARTS:
        hyperprior = getattr(network, part)
        for name, value in IntegerHyperSynthesis.from_float(hyperprior).to_arrays().items():
            tensors[f"prior.{part}.{name}"] = value
        tensors |= _table_tensors(f"tables.{part}", hyper_tables(hyperprior))
    tensors |= _table_tensors("tables.latent", gaussian_tables(scale_table(), SKIPPED_TABLES))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
        partial,
        {"run": json.dumps({"config": network.config.to_dict()})},
    )
    partial.replace(path)
    return model_id(path)


def _table_tensors(prefix: str, tables: Tables) -> dict[str, Tensor]:
    return {f"{prefix}.{k}": torch.from_numpy(v.copy()) for k, v in tables.to_arrays().items()}


def model_id(path: Path) -> bytes:
    """The first 8 bytes of a weight file's SHA-256; raises WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:MODEL_ID_BYTES]
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


@cache
def installed(folder: Path = FOLDER) -> dict[bytes, Path]:
    """Every weight file in ``folder`` by its model id."""
    return {model_id(path): path for path in sorted(folder.glob("*.safetensors"))}


def path_of_profile(profile: str, folder: Path = FOLDER) -> Path:
    """The weight file that new pictures are coded with; raises WeightsError if there is none."""
    path = folder / f"{profile}.safetensors"
    if not path.is_file():
        raise WeightsError(f"no weights for profile {profile!r} in {folder}")
    return path


def path_of_model(identity: bytes, folder: Path = FOLDER) -> Path:
    """The weight file of a stream's model id; raises UnknownModel if it is not installed."""
    try:
        return installed(folder)[identity]
    except KeyError:
        raise UnknownModel(f"the weights of model {identity.hex()} are not installed") from None


def load(path: Path) -> Weights:
    """Read and check a weight file; raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = Config.from_dict(meta["config"])
        network = Compass(config)
        state = {k: v.float() for k, v in _below(tensors, "weights").items()}
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
        for part in _PARTS
    }
    latent_tables = _tables(_below(tensors, "tables.latent"))
    for prior in priors.values():
        shape = prior.synthesis.shape, len(prior.tables), len(latent_tables)
        if shape != ((config.channels, config.latents), config.channels, SCALE_COUNT):
            raise WeightsError(f"{path}: priors and tables of another shape {shape}")
    return Weights(model_id(path), config, network.eval().requires_grad_(False), priors, latent_tables)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _tables(tensors: dict[str, Tensor]) -> Tables:
    return Tables.from_arrays({k: v.numpy() for k, v in tensors.items()})
