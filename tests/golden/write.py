"""Write golden streams (see README.md): each once, for a version of the format or of the network.

python -m tests.golden.write FOLDER STREAM [STREAM ...]
"""

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from model.codec.codec import Codec
from model.codec.graphics import Pixels, decode, encode_avif, encode_lossless
from model.geometry import Size
from model.network.config import Config
from model.network.priors import FRACTION
from model.stream.container import read_header
from model.training.export import export
from tests.model.tiny import lively_network, picture_of

CONFIG = Config(
    channels=4,
    latents=6,
    hyper_channels=6,
    features=4,
    blocks=1,
    convs=1,
    growth=4,
    hidden=4,
    hidden_layers=1,
    levels=3,
)
PATCHES = replace(
    CONFIG,
    form="patches",
    analysis_channels=6,
    analysis_blocks=2,
    analysis_deep_blocks=1,
    synthesis_channels=6,
    synthesis_blocks=2,
    synthesis_deep_blocks=1,
    feature_step=2,
)
WEIGHTS = {"tiny": CONFIG, "patches": PATCHES}
LAYERS = [Size(15, 23), Size(41, 61), Size(61, 97)]


GRAPHICS: dict[str, Callable[[Pixels], bytes]] = {
    "lossless": encode_lossless,
    "avif": partial(encode_avif, quality=75, file_quality=60),
}
"""Streams that are picture files, of 50 x 40 pixels."""


class Golden(NamedTuple):
    """A stream: its weights, its layers, its quality, whether its pixels are kept."""

    weights: str
    sizes: list[Size]
    quality: int
    drawn: bool = False


STREAMS = {
    "pixel": Golden("tiny", [Size(1, 1)], 60),
    "small": Golden("tiny", [Size(5, 7)], 1),
    "layers": Golden("tiny", LAYERS, 75, drawn=True),
    "tiles": Golden("tiny", [Size(127, 131), Size(290, 300)], 40),
    "patched": Golden("patches", LAYERS, 75, drawn=True),
}


def latents_digest(codec: Codec, stream: bytes, layer: int) -> str:
    """SHA-256 of a layer's latents as README.md describes them."""
    y = codec.latents(stream, layer)[0].cpu().double() * 2**FRACTION
    return hashlib.sha256(y.contiguous().numpy().astype("<i4").tobytes()).hexdigest()


def write_graphic(folder: Path, name: str) -> dict[str, object]:
    """Write the stream of a graphic and its pixels; returns its entry in the manifest."""
    drawing = picture_of(Size(40, 50), len(name)) & np.uint8(192)
    stream = GRAPHICS[name](drawing)
    (folder / f"{name}.cmps").write_bytes(stream)
    Image.fromarray(decode(stream)).save(folder / f"{name}-0.png", optimize=True)
    return {"weights": None, "sha256": hashlib.sha256(stream).hexdigest(), "latents": []}


def main() -> None:
    """Write streams, their weights if not there yet, pixels and the manifest into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("streams", nargs="+", choices=[*STREAMS, *GRAPHICS])
    options = parser.parse_args()
    folder: Path = options.folder
    manifest_file = folder / "manifest.json"
    manifest = json.loads(manifest_file.read_text()) if manifest_file.exists() else {}
    torch.set_num_threads(1)
    for name in options.streams:
        if name in GRAPHICS:
            manifest[name] = write_graphic(folder, name)
            continue
        golden = STREAMS[name]
        weights = folder / f"{golden.weights}.safetensors"
        if not weights.exists():
            export(lively_network(WEIGHTS[golden.weights], seed=3), weights)
        codec = Codec.load(str(weights))
        stream = codec.encode(picture_of(golden.sizes[-1], len(name)), golden.sizes, golden.quality)
        (folder / f"{name}.cmps").write_bytes(stream)
        layers = range(len(read_header(stream).layers))
        manifest[name] = {
            "weights": golden.weights,
            "sha256": hashlib.sha256(stream).hexdigest(),
            "latents": [latents_digest(codec, stream, k) for k in layers],
        }
        for k in layers if golden.drawn else ():
            pixels: np.ndarray = codec.decode(stream, k)
            Image.fromarray(pixels).save(folder / f"{name}-{k}.png", optimize=True)
    manifest_file.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
