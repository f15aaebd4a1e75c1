"""The options that all benchmarks under load have."""

import argparse
from pathlib import Path

from benchmarks.measure.pictures import DATA


def parser(name: str, about: str | None, pictures: int, seconds: float) -> argparse.ArgumentParser:
    """The options of ``make bench-NAME``, with these defaults; more can be added."""
    result = argparse.ArgumentParser(prog=f"make bench-{name}", description=about)
    result.add_argument("--data", type=Path, required=True, help=DATA)
    result.add_argument("--profile", default="lite", help="profile of the codec")
    result.add_argument("--out", type=Path, default=Path("out") / name, help="folder for tables and plots")
    result.add_argument("--pictures", type=int, default=pictures, help="pictures that are asked for")
    result.add_argument("--seconds", type=float, default=seconds, help="length of each run or turn")
    return result
