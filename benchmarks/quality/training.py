"""Ways to train side by side: `make bench-training DATA=PHOTOS OPTIONS="--minutes 4 --threads 1"`.

The base layer is trained from new weights, or from the weights of `--start`, with each recipe for the same
number of minutes or steps. All are judged by the loss on the held-out pictures, cut into the same crops, with
the weights that the run ended with. On a machine that others use too, `--steps` compares what `--minutes`
cannot.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.measure.report import finish, table
from model.network.config import PROFILES
from model.training.cli import RECIPES as USUAL
from model.training.data import load_pictures
from model.training.plan import Plan
from model.training.stages import Recipe
from model.training.trainer import train, validate

CHANGES: dict[str, dict[str, Any]] = {
    "usual": {},
    "half rate": {"lr": 1e-3},
    "average": {"average": 0.999},
    "half rate, average": {"lr": 1e-3, "average": 0.999},
    "small crops": {"batch": 8, "side": 128},
    "adam 1e-3": {"optimiser": "adam", "lr": 1e-3},
    "adam 1e-4": {"optimiser": "adam", "lr": 1e-4},
    "going on": {"lr": 5e-4},
}
"""Recipes: what each changes of the profile's usual one."""
NETWORKS: dict[str, dict[str, Any]] = {
    "light analysis": {"analysis_channels": 96, "analysis_blocks": 3, "analysis_deep_blocks": 2},
    "192 latents": {"latents": 192},
    "320 latents": {"latents": 320},
}
"""Networks trained by the usual recipe: what each changes of the profile's configuration."""


def describe(recipe: Recipe) -> str:
    """For tables: "muon 2e-3, 8 of 128 x 128"."""
    average = f", average {recipe.average:g}" if recipe.average else ""
    rate = f"{recipe.lr:.0e}".replace("e-0", "e-")
    return f"{recipe.optimiser} {rate}, {recipe.batch} of {recipe.side} x {recipe.side}{average}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser("make bench-training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="lite")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each recipe")
    parser.add_argument("--steps", type=float, default=math.inf, help="of each recipe")
    parser.add_argument("--start", type=Path, help="weights to go on with, instead of new ones")
    parser.add_argument(
        "--only", choices=[*CHANGES, *NETWORKS], action="append", help="this recipe; repeatable"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the table")
    options = parser.parse_args(arguments)
    if math.isinf(min(options.minutes, options.steps)):
        parser.error("say how long: --minutes or --steps")
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(options.data, torch.device(options.device))
    results: dict[str, dict[str, Any]] = {}
    usual = USUAL[options.profile]["base"]
    recipes = {
        name: replace(usual, **CHANGES.get(name, {})) for name in options.only or [*CHANGES, *NETWORKS]
    }
    for name, recipe in recipes.items():
        log = options.out / f"{name}.jsonl"
        log.unlink(missing_ok=True)
        with TemporaryDirectory() as folder:
            plan = Plan(
                replace(PROFILES[options.profile], **NETWORKS.get(name, {})),
                recipe,
                pictures,
                Path(folder) / "run.safetensors",
                options.minutes,
                options.steps,
                options.start,
                log=log,
            )
            network = train(plan)
        final = json.loads(log.read_text().splitlines()[-1])["final"]
        same_crops = (recipe.batch, recipe.side) == (usual.batch, usual.side)
        results[name] = final if same_crops else final | validate(network, usual, pictures[1])
    rows = [
        (
            describe(recipes[name]) + (f", {name}" if name in NETWORKS else ""),
            result["steps"],
            result["seconds"],
            f"{result['share_of_peak']:.1%}",
            f"{result['loss']:.4f}",
            f"{result['bpp']:.3f}",
            -10 * math.log10(result["mse"]),
        )
        for name, result in sorted(results.items(), key=lambda item: item[1]["loss"])
    ]
    box = f"{options.steps:g} steps" if options.steps < math.inf else f"{options.minutes:g} minutes"
    start = options.start.name if options.start else "new weights"
    text = [
        f"# Training the base layer from {start} for {box}: {options.profile}, {options.data.name}",
        table(["recipe", "steps", "seconds", "of peak", "validation loss", "bpp", "PSNR, dB"], rows),
    ]
    finish(options.out, "training", text, {"recipes": results})


if __name__ == "__main__":
    main()
