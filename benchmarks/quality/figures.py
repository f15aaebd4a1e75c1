"""All that docs/figures.py prints of a profile, measured: `make figures DATA=KODAK ANCHORS=FOLDER`.

Runs bench-rd, bench-layers and bench-scalable with what they share in one cache, and writes
docs/figures/PROFILE.json.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import command
from benchmarks.quality import layers, rd, scalable

FIGURES = Path(__file__).parents[2] / "docs/figures"
LADDERS = {
    "three": "--only three --quick --pictures 24 --qualities 10 35 65 95",
    "many": "--only many --pictures 6",
    "two": "--only two --pictures 8 --qualities 10 35 65 95",
    "twice": "--only three --pictures 8 --qualities 10 35 65 95",
    "far": "--only far --pictures 8 --qualities 10 35 65 95",
    "close": "--only close --pictures 8 --qualities 10 35 65 95",
}
"""Options of bench-scalable, by the tables that show its runs."""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of a profile."""
    common = ["--data", str(options.data), "--profile", options.profile, "--out", str(options.out)]
    published = ["--anchors", str(options.anchors)] if options.anchors else []
    jobs = ["--jobs", str(options.jobs)]

    def run(benchmark: Callable[[Sequence[str]], None], name: str, *more: str) -> dict[str, Any]:
        benchmark([*common, *more])
        return json.loads((options.out / f"{name}.json").read_text())

    one = run(rd.main, "rd", *published)
    ladders = {}
    for name in options.ladders:
        chosen = LADDERS[name]
        anchors = published if name == "three" else []  # those are of all 24 pictures
        found = run(scalable.main, "scalable", *chosen.split(), *jobs, *anchors)
        rates = {
            ladder.name: columns(found["bd_rate"][ladder.name] | scalable.reported(ladder))
            for section in scalable.SECTIONS.values()
            for ladder in section.ladders
            if ladder.name in found["bd_rate"]
        }
        ladders[name] = {"pictures": found["pictures"], "bd_rate": rates}
    points = [[q, *point] for q, point in zip(rd.QUALITIES, one["curve"], strict=True)]
    return {
        "model": one["model_id"],
        "date": datetime.now(UTC).date().isoformat(),
        "one": {"pictures": one["pictures"], "points": points, "bd_rate": one["bd_rate"]},
        "ladders": ladders,
        "layers": run(layers.main, "layers")["layers"],
    }


def columns(rates: dict[str, float | None]) -> dict[str, float | None]:
    """A ladder's BD-rates in the order of the tables: our own, the published, other formats, the paper's."""
    ours = ["single layer", "simulcast", scalable.PUBLISHED]
    theirs = [name for name in rates if name not in ours and not name.startswith("paper")]
    order = [*ours, *sorted(theirs), *(name for name in rates if name.startswith("paper"))]
    return {name: rates[name] for name in order if name in rates}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write; ``arguments`` instead of the command line's."""
    parser = command.parser("figures", __doc__)
    command.add_anchors(parser)
    command.add_jobs(parser)
    parser.add_argument(
        "--ladders", nargs="+", choices=LADDERS, default=list(LADDERS), help="of several layers: these alone"
    )
    parser.add_argument(
        "--figures", type=Path, default=FIGURES, help="folder that the figures are written to"
    )
    options = parser.parse_args(arguments)
    found = measure(options)
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / f"{Path(options.profile).stem}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {path}; `make docs` writes the tables")


if __name__ == "__main__":
    main()
