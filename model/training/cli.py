"""``compass train``: one stage, or all of them, for a given number of minutes or steps."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model.network.config import PROFILES
from model.training.checkpoint import load_checkpoint
from model.training.data import load_pictures
from model.training.optimisers import OPTIMISERS
from model.training.plan import Plan
from model.training.stages import STAGES, Recipe
from model.training.trainer import train

RECIPES = {
    "lite": {
        "base": Recipe("base", batch=4, side=256),
        "liff": Recipe("liff", lr=1e-3),
        "residual": Recipe("residual", batch=2, side=320, lr=1e-3),
        "enhancement": Recipe("enhancement", batch=4, side=320, lr=1e-3),
        "joint": Recipe("joint", batch=2, side=320, lr=1e-3),
    },
    "large": {
        "base": Recipe("base", batch=32, side=256),
        "liff": Recipe("liff", batch=16, side=192, lr=1e-3),
        "residual": Recipe("residual", batch=8, side=384, lr=1e-3),
        "enhancement": Recipe("enhancement", batch=8, side=384, lr=1e-3),
        "joint": Recipe("joint", batch=8, side=384, lr=1e-3),
    },
    "paper": {
        "base": Recipe("base", batch=32, side=256),
        "liff": Recipe("liff", batch=16, side=192, lr=1e-3),
        "residual": Recipe("residual", batch=8, side=384, lr=1e-3),
        "enhancement": Recipe("enhancement", batch=8, side=384, lr=1e-3),
        "joint": Recipe("joint", batch=8, side=384, lr=1e-3),
    },
}
"""How each profile is trained unless the options say otherwise: on a CPU, on a large GPU."""
SHARES = {"base": 0.6, "liff": 0.05, "joint": 0.35}
"""What ``all`` trains, one after the other, and each stage's share of the minutes or steps."""


def parser() -> argparse.ArgumentParser:
    """The options of ``compass train``."""
    p = argparse.ArgumentParser("compass train", description=__doc__)
    p.add_argument("stage", choices=(*STAGES, "all"), help="all: base, liff and joint")
    p.add_argument("--data", type=Path, required=True, help="folder of training photographs")
    p.add_argument("--minutes", type=float, default=math.inf, help="time box; the schedule fills it exactly")
    p.add_argument("--steps", type=int, help="end after that many steps; the schedule fills them exactly")
    p.add_argument("--profile", choices=sorted(PROFILES), default="lite")
    p.add_argument("--runs", type=Path, default=Path("runs"), help="folder of checkpoints and logs")
    p.add_argument("--start", type=Path, help="weights to begin with, instead of the last stage's")
    p.add_argument("--base", type=Path, help="weights whose base layer is taken instead of theirs")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--batch", type=int, help="crops per step")
    p.add_argument("--side", type=int, help="edge of a crop in pixels")
    p.add_argument("--lr", type=float, help="highest learning rate")
    p.add_argument("--optimiser", choices=OPTIMISERS, help="default: muon")
    p.add_argument("--average", type=float, help="keep a moving average of the weights, such as 0.999")
    p.add_argument("--noisy", action="store_true", help="ablation: noisy latents for the distortion too")
    p.add_argument("--threads", type=int, help="CPU threads")
    p.add_argument("--seed", type=int, default=0)
    return p


def remaining_stages(checkpoint: Path) -> list[str]:
    """The stages of ``all`` that a run has still to do after a break; after a whole run, all of them.

    Raises WeightsError if the file is no checkpoint.
    """
    names = list(SHARES)
    saved = load_checkpoint(checkpoint) if checkpoint.exists() else None
    if saved is None or not saved.history or saved.history[-1] not in names:
        return names
    return names[names.index(saved.history[-1]) + (saved.progress >= 1) :] or names


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stages; their result is ``runs/<profile>.safetensors``.

    The same command, given again, goes on where a run was broken off; ``--start`` and ``--base`` then count
    no more.
    """
    options = parser()
    args = options.parse_args(argv)
    if math.isinf(args.minutes) and not args.steps:
        options.error("say how long: --minutes or --steps")
    if args.threads:
        torch.set_num_threads(args.threads)
    choices = ("batch", "side", "lr", "optimiser", "average")
    changes = {name: getattr(args, name) for name in choices if getattr(args, name)}
    args.runs.mkdir(parents=True, exist_ok=True)
    checkpoint = args.runs / f"{args.profile}.safetensors"
    stages = remaining_stages(checkpoint) if args.stage == "all" else [args.stage]
    begins = args.stage != "all" or stages == list(SHARES)
    pictures = load_pictures(args.data, torch.device(args.device))
    for stage in stages:
        share = SHARES[stage] if args.stage == "all" else 1.0
        first = begins and stage == stages[0]
        train(
            Plan(
                PROFILES[args.profile],
                replace(RECIPES[args.profile][stage], **changes, noisy=args.noisy),
                pictures,
                checkpoint,
                minutes=share * args.minutes,
                steps=math.ceil(share * args.steps) if args.steps else math.inf,
                start=args.start if first else None,
                base=args.base if first else None,
                log=args.runs / f"{args.profile}.jsonl",
                seed=args.seed,
            )
        )
