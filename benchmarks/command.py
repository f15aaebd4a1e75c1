"""The command line and the inputs that the rate-distortion benchmarks share."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.cache import Cache
from benchmarks.curves import Curve, read_folder
from benchmarks.ours import Meter
from benchmarks.pictures import Picture, read_pictures
from model.codec import Codec

QUICK_PICTURES = 4


@dataclass(frozen=True)
class Inputs:
    """What a benchmark works with."""

    profile: str
    model_id: str
    pictures: list[Picture]
    data: str
    meter: Meter
    classic_cache: Cache
    anchors: list[Curve]
    anchors_folder: Path | None
    out: Path


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    result = argparse.ArgumentParser(prog=f"make {name}", description=description)
    result.add_argument("--data", type=Path, required=True, help="folder of PNG pictures")
    result.add_argument("--profile", default="lite", help="profile of the codec, or a weight file")
    result.add_argument("--device", help="where the codec runs; CUDA if there is one, else the CPU")
    result.add_argument("--anchors", type=Path, help="folder of published curves (JSON)")
    result.add_argument("--out", type=Path, default=Path("out"), help="folder for tables, plots and caches")
    result.add_argument("--pictures", type=int, help="use only this many of the pictures")
    result.add_argument("--quick", action="store_true", help=f"a smaller run on {QUICK_PICTURES} pictures")
    return result


def load(options: argparse.Namespace) -> Inputs:
    """Read the pictures, curves and weights that the options name.

    Raises FileNotFoundError for missing pictures or curves, a CompassError for the weights.
    """
    count = options.pictures or (QUICK_PICTURES if options.quick else None)
    pictures = read_pictures(options.data, count)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    codec = Codec.load(options.profile, device=device)
    options.out.mkdir(parents=True, exist_ok=True)
    return Inputs(
        profile=Path(options.profile).stem,
        model_id=codec.model_id.hex(),
        pictures=pictures,
        data=options.data.name,
        meter=Meter(codec, Cache(options.out / "ours.jsonl")),
        classic_cache=Cache(options.out / "classic.jsonl"),
        anchors=read_folder(options.anchors) if options.anchors else [],
        anchors_folder=options.anchors,
        out=options.out,
    )
