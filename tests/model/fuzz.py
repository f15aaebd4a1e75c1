"""Decode many broken streams and report the worst: python -m tests.model.fuzz --count 20000

Any exception but a StreamError ends the run and leaves the stream in a file. The process dying, a
decode of more than 2 s and memory above twice that of the clean streams are failures too.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from model.codec.codec import Codec
from model.errors import StreamError
from model.geometry import Size
from model.training.export import export
from tests.model.mutations import mutate
from tests.model.tiny import lively_network, picture_of

SLOWEST = 2.0
"""Seconds that no stream may take."""
SIZES = (
    [Size(1, 1)],
    [Size(40, 50)],
    [Size(30, 41), Size(61, 97)],
    [Size(50, 60), Size(127, 131), Size(290, 300)],
)


def peak_memory() -> float:
    """The most memory this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """0 if every stream decoded or was refused, in time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        export(lively_network(), path)
        codec = Codec.load(str(path), threads=1)
    streams = [codec.encode(picture_of(sizes[-1]), sizes, 30 + 20 * i) for i, sizes in enumerate(SIZES)]
    for stream in streams:
        codec.decode(stream)
    clean = peak_memory()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    began = time.perf_counter()
    for number in tqdm(range(options.count), unit="stream"):
        data = mutate(Random(f"{options.seed} {number}"), streams)
        start = time.perf_counter()
        try:
            codec.decode(data)
            outcomes["decoded"] += 1
        except StreamError as error:
            outcomes[type(error).__name__] += 1
        except BaseException:
            Path(f"fuzz-{options.seed}-{number}.cmps").write_bytes(data)
            raise
        slowest = max(slowest, time.perf_counter() - start)
    seconds = time.perf_counter() - began
    print(f"{options.count} streams in {seconds:.0f} s: {dict(outcomes.most_common())}")
    print(f"slowest {slowest:.2f} s; memory {clean:.0f} MiB clean, {peak_memory():.0f} MiB at most")
    return int(slowest > SLOWEST or peak_memory() > 2 * clean)


if __name__ == "__main__":
    sys.exit(main())
