"""The command line and the inputs that the rate-distortion benchmarks share."""

import argparse
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.measure.cache import Cache
from benchmarks.measure.curves import Curve, read_folder
from benchmarks.measure.ours import Meter
from benchmarks.measure.pictures import DATA, Picture, middle, read_pictures
from model.codec.codec import Codec
from model.codec.refine import EFFORTS
from model.geometry import Size

QUICK_PICTURES = 4
MIDDLE = Size(320, 480)
"""What ``--middle`` takes of a picture, in pixels; turned, of one that is higher than wide."""


@dataclass(frozen=True)
class Inputs:
    """What a benchmark works with."""

    profile: str
    model_id: str
    device: str
    pictures: list[Picture]
    data: str
    meter: Meter
    classic_cache: Cache
    anchors: list[Curve]
    out: Path


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    result = argparse.ArgumentParser(prog=f"make {name}", description=description)
    result.add_argument("--data", type=Path, required=True, help=DATA)
    result.add_argument("--profile", default="lite", help="profile of the codec, or a weight file")
    result.add_argument("--device", help="where the codec runs; CUDA if there is one, else the CPU")
    result.add_argument("--out", type=Path, default=Path("out"), help="folder for tables, plots and caches")
    result.add_argument("--pictures", type=int, help="use only this many of the pictures")
    result.add_argument("--quick", action="store_true", help=f"a smaller run on {QUICK_PICTURES} pictures")
    return result


def add_anchors(known: argparse.ArgumentParser) -> None:
    """The option of the benchmarks that compare with published curves."""
    known.add_argument("--anchors", type=Path, help="folder of published curves (JSON)")


def add_middle(known: argparse.ArgumentParser) -> None:
    """The option of the benchmarks that take long."""
    known.add_argument(
        "--middle", action="store_true", help=f"only the middle {MIDDLE} pixels of each picture"
    )


def add_effort(known: argparse.ArgumentParser) -> None:
    """The option of the benchmarks that may search for latents."""
    known.add_argument("--effort", choices=EFFORTS, default="none", help="of our encoder: minutes a picture")


def load(options: argparse.Namespace, threads: int | None = None) -> Inputs:
    """Read the pictures, curves and weights that the options name; ``threads`` for the codec.

    Raises FileNotFoundError for missing pictures or curves, a CompassError for the weights.
    """
    count = options.pictures or (QUICK_PICTURES if options.quick else None)
    pictures = read_pictures(options.data, count)
    if vars(options).get("middle"):
        turned = Size(MIDDLE.width, MIDDLE.height)
        pictures = [middle(one, MIDDLE if one.size.width >= one.size.height else turned) for one in pictures]
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    codec = Codec.load(options.profile, device, threads)
    anchors: Path | None = vars(options).get("anchors")
    options.out.mkdir(parents=True, exist_ok=True)
    return Inputs(
        profile=Path(options.profile).stem,
        model_id=codec.model_id.hex(),
        device=device,
        pictures=pictures,
        data=options.data.name,
        meter=Meter(codec, Cache(options.out / "ours.jsonl"), EFFORTS[vars(options).get("effort", "none")]),
        classic_cache=Cache(options.out / "classic.jsonl"),
        anchors=read_folder(anchors) if anchors else [],
        out=options.out,
    )


Measure = Callable[[Inputs, argparse.Namespace], object]


def add_jobs(known: argparse.ArgumentParser) -> None:
    """The option of :func:`measure_in_processes`."""
    known.add_argument("--jobs", type=int, default=1, help="processes to measure with, one thread each")


def measure_in_processes(measure: Measure, options: argparse.Namespace, inputs: Inputs) -> Inputs:
    """Let ``options.jobs`` processes, if more than one, run ``measure`` on one picture after the other.

    What they measure is in the caches of the returned inputs. A run that is broken off goes on
    where it was. ``measure`` must be a module's function.
    """
    if options.jobs == 1:
        return inputs
    spawn = multiprocessing.get_context("spawn")
    count = len(inputs.pictures)
    with ProcessPoolExecutor(options.jobs, spawn, _start, (measure, options)) as pool:
        list(tqdm(pool.map(_measure_one, range(count)), "measuring", count, unit="picture"))
    return load(options)


def _start(measure: Measure, options: argparse.Namespace) -> None:
    global _work
    torch.set_num_threads(1)
    _work = measure, options, load(options, threads=1)


def _measure_one(number: int) -> None:
    measure, options, inputs = _work
    measure(replace(inputs, pictures=[inputs.pictures[number]]), options)


_work: tuple[Measure, argparse.Namespace, Inputs]
"""What a process of :func:`measure_in_processes` does."""
