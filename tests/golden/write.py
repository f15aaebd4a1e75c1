"""Write the golden streams (see README.md): once for every version of the format.

python -m tests.golden.write FOLDER
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.codec import Codec
from model.config import Config
from model.container import read_header
from model.integer import FRACTION
from model.training.export import export
from tests.model.tiny import lively_network, picture

CONFIG = Config(
    channels=4, latents=6, features=4, blocks=1, convs=1, growth=4, hidden=4, hidden_layers=1, levels=3
)
STREAMS = {
    "pixel": ([(1, 1)], 60),
    "small": ([(7, 5)], 1),
    "layers": ([(23, 15), (61, 41), (97, 61)], 75),
    "tiles": ([(131, 127), (300, 290)], 40),
}
"""Layers (width, height) and quality of each."""
DRAWN = "layers"
"""The stream whose pixels are kept too."""


def latents_digest(codec: Codec, stream: bytes, layer: int) -> str:
    """SHA-256 of a layer's latents as README.md describes them."""
    y = codec.latents(stream, layer)[0].cpu().double() * 2**FRACTION
    return hashlib.sha256(y.contiguous().numpy().astype("<i4").tobytes()).hexdigest()


def main() -> None:
    """Write weights, streams, pixels and the manifest into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    torch.set_num_threads(1)
    export(lively_network(CONFIG, seed=3), folder / "tiny.safetensors")
    codec = Codec.load(str(folder / "tiny.safetensors"))
    manifest = {}
    for name, (sizes, quality) in STREAMS.items():
        stream = codec.encode(picture(*sizes[-1], seed=len(name)), sizes, quality)
        (folder / f"{name}.cmps").write_bytes(stream)
        manifest[name] = {
            "sha256": hashlib.sha256(stream).hexdigest(),
            "latents": [latents_digest(codec, stream, k) for k in range(len(read_header(stream).layers))],
        }
    stream = (folder / f"{DRAWN}.cmps").read_bytes()
    for k in range(len(read_header(stream).layers)):
        pixels: np.ndarray = codec.decode(stream, k)
        Image.fromarray(pixels).save(folder / f"{DRAWN}-{k}.png", optimize=True)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
