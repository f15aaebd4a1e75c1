"""``compass export``: the weight file of a training run, ready to code with."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from model.config import PROFILES, Config
from model.network import Compass
from model.training.checkpoint import load_checkpoint, take_over
from model.weights import FOLDER, export, load


def network_of(checkpoint: Path, profile: str) -> Compass:
    """The network of a checkpoint; raises WeightsError if the file is none.

    Parts that were not trained yet, or whose shape the configuration has changed since, are
    those of a new network.
    """
    saved = load_checkpoint(checkpoint)
    config = Config.from_dict(saved.config) if saved.config else PROFILES[profile]
    network = Compass(config)
    take_over(network, saved.weights)
    return network.eval()


def main(argv: Sequence[str] | None = None) -> None:
    """Export ``runs/<profile>.safetensors`` and print what the integer conversion proved."""
    parser = argparse.ArgumentParser("compass export", description=__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="lite")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, help="default: the profile's file in model/weights/")
    args = parser.parse_args(argv)
    out = args.out or FOLDER / f"{args.profile}.safetensors"
    identity = export(network_of(args.runs / f"{args.profile}.safetensors", args.profile), out)
    print(f"{out}: model {identity.hex()}, {out.stat().st_size:,} bytes")
    for part, prior in load(out).priors.items():
        for name in ("up1", "up2", "index", "mean"):
            layer = getattr(prior.synthesis, name)
            print(
                f"  {part} {name}: 2^-{layer.shift} weights, sums stay {layer.headroom():.1f} bits below 2^53"
            )
