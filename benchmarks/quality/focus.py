"""What ``focus=auto`` is worth: how much of the subject is seen, `make bench-focus DATA=KODAK`.

The subjects of 17 pictures of Kodak were marked by hand. Each picture is cut as ``fit=cover`` does, to boxes
of 1:2, 1:1 and 2:1, around the middle and around the salient point; and once more each part of 70 % of it
that has most of the subject, since photographers put subjects into the middle and sites' authors do not. What
is told is the share of the subject that is seen, of what could be seen at best.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from benchmarks.measure.report import finish, table
from service.worker.saliency import Point, salient_point

Area = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of width and height."""

SUBJECTS: dict[str, Area] = {
    "kodim02": (0.29, 0.37, 0.40, 0.55),
    "kodim03": (0.10, 0.15, 0.92, 0.80),
    "kodim04": (0.25, 0.30, 0.75, 0.78),
    "kodim06": (0.17, 0.35, 0.72, 0.75),
    "kodim07": (0.44, 0.28, 0.62, 0.62),
    "kodim09": (0.22, 0.15, 0.95, 0.88),
    "kodim11": (0.38, 0.10, 0.80, 0.78),
    "kodim12": (0.29, 0.12, 0.52, 0.78),
    "kodim14": (0.02, 0.20, 0.86, 0.85),
    "kodim15": (0.38, 0.10, 0.98, 0.85),
    "kodim17": (0.32, 0.08, 0.95, 0.50),
    "kodim18": (0.42, 0.20, 0.90, 0.97),
    "kodim19": (0.50, 0.15, 0.75, 0.70),
    "kodim20": (0.08, 0.10, 0.80, 0.92),
    "kodim21": (0.40, 0.15, 0.66, 0.62),
    "kodim22": (0.25, 0.12, 0.65, 0.68),
    "kodim23": (0.08, 0.20, 0.95, 1.00),
}
SHAPES = (0.5, 1.0, 2.0)
"""Width by height of what is cut out."""
PART, MOST = 0.7, 0.8
"""The edge of a part of a picture, and how much of the subject it must have."""


def seen(subject: Area, size: tuple[int, int], focus: Point, shape: float) -> float:
    """The share of the subject that is in the cut, of what a cut of that shape can show of it."""
    cut = min(1.0, size[1] * shape / size[0]), min(1.0, size[0] / shape / size[1])
    share = 1.0
    for axis in (0, 1):
        start = min(1 - cut[axis], max(0.0, focus[axis] - cut[axis] / 2))
        low, high = subject[axis], subject[axis + 2]
        both = max(0.0, min(high, start + cut[axis]) - max(low, start))
        share *= both / min(high - low, cut[axis])
    return share


def parts(image: Image.Image, subject: Area) -> Iterator[tuple[Image.Image, Area]]:
    """The corners of a picture that have most of the subject, and where it is in them."""
    for left in (0.0, 1 - PART):
        for top in (0.0, 1 - PART):
            corner = (left, top, left + PART, top + PART)
            inside = [max(a, b) for a, b in zip(subject[:2], corner[:2], strict=True)]
            inside += [min(a, b) for a, b in zip(subject[2:], corner[2:], strict=True)]
            area = max(0.0, inside[2] - inside[0]) * max(0.0, inside[3] - inside[1])
            if area >= MOST * (subject[2] - subject[0]) * (subject[3] - subject[1]):
                edges = (image.width, image.height) * 2
                box = tuple(round(share * edge) for share, edge in zip(corner, edges, strict=True))
                a, b, c, d = ((inside[k] - (left, top)[k % 2]) / PART for k in range(4))
                yield image.crop((box[0], box[1], box[2], box[3])), (a, b, c, d)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser(prog="make bench-focus", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with pictures of Kodak (PNG)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the table")
    options = parser.parse_args(arguments)
    shares: dict[str, dict[str, list[float]]] = {}
    for name, subject in SUBJECTS.items():
        path = options.data / f"{name}.png"
        if not path.is_file():
            continue
        image = Image.open(path).convert("RGB")
        cases = [("whole", image, subject), *(("part", *one) for one in parts(image, subject))]
        for kind, shown, where in cases:
            for way, focus in (("middle", (0.5, 0.5)), ("auto", salient_point(shown))):
                found = [seen(where, shown.size, focus, shape) for shape in SHAPES]
                shares.setdefault(kind, {}).setdefault(way, []).append(sum(found) / len(found))
    rows: list[dict[str, object]] = [
        {
            "pictures": kind,
            "cuts": len(ways["middle"]),
            **{way: round(100 * sum(found) / len(found), 1) for way, found in ways.items()},
            **{f"least, {way}": round(100 * min(found), 1) for way, found in ways.items()},
        }
        for kind, ways in shares.items()
    ]
    head = list(rows[0]) if rows else []
    text = ["# Share of the subject that is seen, in %", table(head, [list(row.values()) for row in rows])]
    options.out.mkdir(parents=True, exist_ok=True)
    finish(options.out, "focus", text, {"rows": rows})


if __name__ == "__main__":
    main()
