"""``docs/bitstream.md`` suffices: a decoder written from that page alone finds the golden latents."""

import ast
import hashlib
import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.model import bitstream_decoder
from tests.model.bitstream_decoder import (
    Refused,
    decode_latents,
    read_graphic,
    read_header,
    read_weights,
)

FOLDER = Path(__file__).parents[1] / "golden"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


@pytest.mark.parametrize("name", [name for name, entry in MANIFEST.items() if entry["weights"]])
def test_golden_latents(name):
    stream = (FOLDER / f"{name}.cmps").read_bytes()
    weights = read_weights((FOLDER / f"{MANIFEST[name]['weights']}.safetensors").read_bytes())
    digests = MANIFEST[name]["latents"]
    assert len(read_header(stream).layers) == len(digests)
    for k, digest in enumerate(digests):
        latents = decode_latents(stream, weights, k).astype("<i4")
        assert hashlib.sha256(latents.tobytes()).hexdigest() == digest


@pytest.mark.parametrize("at", range(59))
def test_a_changed_byte_is_refused(at):
    stream = bytearray((FOLDER / "small.cmps").read_bytes())
    weights = read_weights((FOLDER / "tiny.safetensors").read_bytes())
    stream[at] ^= 64
    with pytest.raises(Refused):
        decode_latents(bytes(stream), weights, 0)


@pytest.mark.parametrize("name", ["lossless", "avif"])
def test_golden_graphics(name):
    """The page says where the file is and how large; what is in it are other standards' pixels."""
    kind, file = read_graphic((FOLDER / f"{name}.cmps").read_bytes())
    with Image.open(BytesIO(file)) as found, Image.open(FOLDER / f"{name}-0.png") as past:
        assert (found.format, found.mode, found.size) == (kind, "RGB", past.size)
        assert np.abs(np.asarray(found).astype(int) - np.asarray(past)).max() <= (name == "avif")


@pytest.mark.parametrize("name", ["lossless", "avif"])
def test_a_changed_byte_of_a_graphic_is_refused(name):
    stream = (FOLDER / f"{name}.cmps").read_bytes()
    for at in range(len(stream)):
        with pytest.raises(Refused):
            read_graphic(stream[:at] + bytes([stream[at] ^ 64]) + stream[at + 1 :])


def test_the_decoder_imports_nothing_of_ours():
    tree = ast.parse(Path(bitstream_decoder.__file__).read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in imported
        for alias in node.names
    }
    assert {str(name).split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}
