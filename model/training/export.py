"""``compass export``: the weight file of a training run, ready to code with."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.codec.codec import Codec
from model.codec.weights import PARTS, load, scale_table
from model.installed import FOLDER, model_id
from model.network.compass import Compass
from model.network.config import PROFILES, Config
from model.network.precision import narrow_parts
from model.stream.entropy import Tables
from model.training.checkpoint import Checkpoint, load_checkpoint, take_over, take_over_base
from model.training.data import Pictures, load_pictures
from model.training.integers import integer_hyper_synthesis
from model.training.network import SKIPPED_TABLES, TrainedHyperprior, initialise
from model.training.symbols import count_symbols
from model.training.tables import fitted_tables, gaussian_tables, quantise_pmf

_HYPER_RANGE = 127


def hyper_tables(hyperprior: TrainedHyperprior) -> Tables:
    """Integer tables of the hyper-latent symbols, one table per channel, from the trained bottleneck."""
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


class _Cumulative(nn.Module):
    """The bottleneck's cumulative logits as a module's forward."""

    def __init__(self, bottleneck: nn.Module):
        super().__init__()
        self.bottleneck = bottleneck

    def forward(self, x: Tensor) -> Tensor:
        cumulative: Callable[..., Tensor] = self.bottleneck._logits_cumulative  # type: ignore[assignment]
        logits: Tensor = cumulative(x, stop_gradient=True)
        return logits


def _prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"bottleneck.{k}": v for k, v in state.items()}


def export(
    network: Compass, path: Path, history: Sequence[str] = (), latent_tables: Tables | None = None
) -> bytes:
    """Write the weight file of a trained network, whole or not at all, and return its model id (8 bytes).

    What may compute in bfloat16 is stored in it, so that it computes with the same weights everywhere; the
    other weights of the transforms in half precision; priors and tables as integers, made from the float32
    weights. ``history`` are the stages trained, for further training; ``latent_tables`` the entropy tables
    of the latents (default: Gaussian ones).
    """
    tensors: dict[str, Tensor] = {}
    narrow = {id(weight) for part in narrow_parts(network) for weight in part.parameters()}
    for name, weight in network.named_parameters():
        exact = ".bottleneck." in name or "gain" in name
        other = torch.bfloat16 if id(weight) in narrow else torch.float16
        tensors[f"weights.{name}"] = weight.to(torch.float32 if exact else other)
    for part in PARTS:
        hyperprior = getattr(network, part)
        for name, value in integer_hyper_synthesis(hyperprior).to_arrays().items():
            tensors[f"prior.{part}.{name}"] = value
        tensors |= _table_tensors(f"tables.{part}", hyper_tables(hyperprior))
    tensors |= _table_tensors("tables.latent", latent_tables or begun_tables())
    run = {"config": network.config.to_dict()} | ({"history": list(history)} if history else {})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
            partial,
            {"run": json.dumps(run)},
        )
        partial.chmod(0o644)  # safetensors lets only the owner read
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return model_id(path)


def export_fitted(network: Compass, path: Path, history: Sequence[str], pictures: Pictures) -> bytes:
    """As :func:`export`, with tables fitted to the symbols that pictures have with these weights.

    Until these are counted, which takes minutes, what lies at ``path`` stays as it is.
    """
    with TemporaryDirectory() as folder:
        unfitted = Path(folder) / path.name
        export(network, unfitted, history)
        counts = count_symbols(Codec(load(unfitted)), pictures)
    return export(network, path, history, fitted_tables(begun_tables(), counts))


def begun_tables() -> Tables:
    """Gaussian entropy tables of the latents, which training assumes."""
    return gaussian_tables(scale_table(), SKIPPED_TABLES)


def _table_tensors(prefix: str, tables: Tables) -> dict[str, Tensor]:
    return {f"{prefix}.{k}": torch.from_numpy(v.copy()) for k, v in tables.to_arrays().items()}


def network_of(saved: Checkpoint, profile: str) -> Compass:
    """The network of a checkpoint.

    Parts that were not trained yet, or whose shape the configuration has changed since, are taken from a
    new network.
    """
    config = Config.from_dict(saved.config) if saved.config else PROFILES[profile]
    network = initialise(config)
    take_over(network, saved.weights)
    return network.eval()


def main(argv: Sequence[str] | None = None) -> None:
    """Export ``runs/<profile>.safetensors`` and print what the integer conversion proved.

    With ``--base`` the base layer is that of another checkpoint: it and the enhancement layer can be trained
    side by side.
    """
    parser = argparse.ArgumentParser("compass export", description=__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="lite")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the checkpoint")
    parser.add_argument("--base", type=Path, help="checkpoint whose base layer is taken instead")
    parser.add_argument("--out", type=Path, help="default: the profile's file in model/weights/")
    parser.add_argument(
        "--data", type=Path, help="photographs to fit the latents' tables to (saves about 1 %%)"
    )
    args = parser.parse_args(argv)
    out = args.out or FOLDER / f"{args.profile}.safetensors"
    saved = load_checkpoint(args.runs / f"{args.profile}.safetensors")
    network = network_of(saved, args.profile)
    if args.base:
        take_over_base(network, load_checkpoint(args.base).weights)
    if args.data:
        photographs = load_pictures(args.data, torch.device("cpu"))[0]
        identity = export_fitted(network, out, saved.history, photographs)
    else:
        identity = export(network, out, saved.history)
    weights = load(out)
    size = sum(p.numel() for p in weights.network.parameters())
    print(f"{out}: model {identity.hex()}, {out.stat().st_size:,} bytes, {size:,} parameters")
    for part, prior in weights.priors.items():
        for name in ("up1", "up2", "index", "mean"):
            layer = getattr(prior.synthesis, name)
            print(
                f"  {part} {name}: 2^-{layer.shift} weights, sums stay {layer.headroom():.1f} bits below 2^53"
            )
