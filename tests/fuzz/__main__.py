"""Hostile inputs by the minute: ``make fuzz OPTIONS="--minutes 5 --only uploads"``.

Every input follows from the seed and its number. A fault (an error that is not promised, an input that takes
more than two seconds of processor time, a request without an answer within a minute) ends the run with the
seed and the number that bring it back. Memory above twice that before the first input is a fault, too.
"""

import argparse
import resource
import sys
import time
from collections import Counter
from random import Random

import torch
from tqdm import tqdm

from tests.fuzz.attacks import ATTACKS

SLOWEST = 2.0
"""Seconds of processor time that no input may take: they are the same on a busy machine."""
SLOWEST_ANSWER = 60.0
"""Seconds within which the service has answered, whatever else the machine does."""


def peak_memory() -> float:
    """The most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(name: str, seconds: float, count: float, seed: int) -> int:
    """Attack for that long, or with so many inputs; returns how many there were. Raises AssertionError."""
    outcomes: Counter[str] = Counter()
    number, slowest = 0, 0.0
    elsewhere = name == "requests"
    clock, most = (time.monotonic, SLOWEST_ANSWER) if elsewhere else (time.process_time, SLOWEST)
    with ATTACKS[name]() as attack, tqdm(desc=name, unit=" inputs") as bar:
        clean, until = peak_memory(), time.monotonic() + seconds
        while number < count and time.monotonic() < until:
            began = clock()
            try:
                outcomes[attack(Random(f"{seed} {name} {number}"))] += 1
            except BaseException:
                print(f"{name}: input {number} of seed {seed}", file=sys.stderr)
                raise
            taken = clock() - began
            assert number == 0 or taken < most, f"{name}: input {number} of seed {seed} took {taken:.1f} s"
            slowest = max(slowest, taken)
            number += 1
            bar.update()
    assert peak_memory() < 2 * clean, f"{name}: {peak_memory():.0f} MiB, {clean:.0f} before the first input"
    print(f"{name}: {number:,} inputs, slowest {slowest:.2f} s, {dict(outcomes.most_common())}")
    return number


def main() -> None:
    """Run the attacks one after the other and print what came of them."""
    parser = argparse.ArgumentParser("make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="all attacks together")
    parser.add_argument("--count", type=float, default=float("inf"), help="inputs of each attack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=ATTACKS, action="append", help="this attack; repeatable")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.only or list(ATTACKS)
    total = sum(run(n, 60 * options.minutes / len(names), options.count, options.seed) for n in names)
    print(f"{total:,} inputs: no crash, no error but those promised, none too slow")


if __name__ == "__main__":
    main()
