"""What each part of the method is worth: `make bench-ablations DATA=… PHOTOS=… OPTIONS="--minutes 9"`.

Table 4 of the COMPASS paper. The enhancement layer is trained three times from the same weights, for the
same number of minutes or steps: as it is, on a bicubic prediction instead of LIFF's, and with noisy instead
of rounded latents. A fourth variant needs no training: every layer is padded to multiples of 64 pixels
instead of by a row or column where a size is odd. Each codes the pictures in three layers whose sizes are no
multiples of 64; real stream bytes, 8-bit decoded pictures.

All three begin with an enhancement layer that is a copy of the base layer.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.cache import Measurement
from benchmarks.measure.curves import curve_points, mean_point
from benchmarks.measure.ours import measure
from benchmarks.measure.report import compare, finish, table
from benchmarks.quality.scalable import Ladder
from model.codec.codec import Codec
from model.codec.layers import Layers
from model.codec.weights import load
from model.geometry import Size, coarse, whole
from model.installed import weight_file
from model.training.checkpoint import Checkpoint, load_checkpoint
from model.training.cli import RECIPES
from model.training.data import Pictures, load_pictures
from model.training.export import export, network_of
from model.training.plan import Plan
from model.training.trainer import train

QUALITIES = (10, 50, 90)
LADDER = Ladder((1, 1.6, 2.56))
FULL = "full"
JOINT = RECIPES["lite"]["joint"]
TRAINED = {
    FULL: JOINT,
    "bicubic prediction": replace(JOINT, stage="residual"),
    "noisy latents": replace(JOINT, noisy=True),
}
MULTIPLE = 64


class PaddedLayers(Layers):
    """Codes every layer as if it were padded to multiples of 64."""

    def coded_size(self, size: Size) -> Size:
        """The next multiples of 64."""
        return coarse(whole(size), MULTIPLE).times(MULTIPLE).size


class PaddedCodec(Codec):
    """The codec of such layers; its streams are for this comparison only."""

    kind_of_layers = PaddedLayers


def neutral(weights: Checkpoint, path: Path) -> None:
    """Weights whose enhancement layer is a copy of the base layer, so that no variant has a lead."""
    network = network_of(weights, "lite")
    network.enhancement.load_state_dict(network.base.state_dict(), strict=False)
    export(network, path, ("base", "liff"))


def trained_codec(
    name: str, start: Path, minutes: float, steps: float, photos: tuple[Pictures, Pictures], out: Path
) -> Codec:
    """The codec of one of ``TRAINED``, trained now from the weights ``start``."""
    recipe, config = TRAINED[name], load(start).config
    run = out / f"{name}.run.safetensors"
    run.unlink(missing_ok=True)
    plan = Plan(config, recipe, photos, run, minutes, steps, start, log=out / f"{name}.jsonl")
    network = train(plan)
    if recipe.stage == "residual":  # LIFF without its filters is the bicubic enlargement
        network.liff.skip = True
        torch.nn.init.zeros_(network.liff.last.weight)
        torch.nn.init.zeros_(network.liff.last.bias)
        network.config = replace(config, bicubic_skip=True)
    weights = out / f"{name}.safetensors"
    export(network.eval(), weights)
    return Codec.load(str(weights), device=str(photos[0].buffer.device))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-ablations", __doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each training")
    parser.add_argument("--steps", type=float, default=math.inf, help="of each training")
    parser.add_argument("--threads", type=int, help="CPU threads of the training")
    options = parser.parse_args(arguments)
    if math.isinf(min(options.minutes, options.steps)):
        parser.error("say how long: --minutes or --steps")
    if options.threads:
        torch.set_num_threads(options.threads)
    inputs = command.load(options)
    profile = options.profile
    start = inputs.out / "start.safetensors"
    neutral(load_checkpoint(weight_file(profile)), start)
    photos = load_pictures(options.photos, torch.device(inputs.device))
    codecs = {
        name: trained_codec(name, start, options.minutes, options.steps, photos, inputs.out)
        for name in TRAINED
    }
    full = inputs.out / f"{FULL}.safetensors"
    codecs["padding to 64"] = PaddedCodec(load(full), inputs.device)
    rows: dict[str, list[list[Measurement]]] = {}
    for name, codec in codecs.items():
        rows[name] = [
            [measure(codec, p, LADDER.sizes(p.size), quality) for p in inputs.pictures]
            for quality in tqdm(QUALITIES, name, unit="quality")
        ]
    curves = {name: curve_points(inputs.pictures, measured) for name, measured in rows.items()}
    bd_rates = {name: compare(curves[FULL], curve) for name, curve in curves.items() if name != FULL}
    layers = [
        (
            name,
            quality,
            *(
                "{:.4f} / {:.2f}".format(*mean_point(inputs.pictures, measured, k))
                for k in range(len(LADDER.factors))
            ),
        )
        for name, all_measured in rows.items()
        for quality, measured in zip(QUALITIES, all_measured, strict=True)
    ]
    box = f"{options.steps:g} steps" if options.steps < math.inf else f"{options.minutes:g} minutes"
    text = [
        f"# Ablations: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Layers {LADDER.name}. Began from model {inputs.model_id}, each trained for {box}.",
        table(["instead of the full method", "BD-rate of the last layer, %"], bd_rates.items()),
        "Bits per pixel of the last layer, accumulated / PSNR in dB:",
        table(["variant", "quality", *(f"layer {k}" for k in range(len(LADDER.factors)))], layers),
    ]
    result = {"bd_rate": bd_rates, "curves": {name: list(map(list, curve)) for name, curve in curves.items()}}
    finish(inputs.out, "ablations", text, result)


if __name__ == "__main__":
    main()
