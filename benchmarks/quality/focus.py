"""What ``focus=auto`` is worth: how much of the subject is seen, `make bench-focus DATA=PHOTOS`.

The subjects of some photographs were marked by hand (:mod:`benchmarks.quality.subjects`); those that are in
the folder are measured, training photographs or Kodak. Each picture is cut as ``fit=cover`` does, to boxes
of 1:2, 1:1 and 2:1, around the middle and around the salient point; and once more each part of 70 % of it
that has most of the subject, since photographers put subjects into the middle and sites' authors do not. What
is told is the share of the subject that is seen, of what could be seen at best.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from benchmarks.measure.report import finish, table
from benchmarks.quality.subjects import KODAK, TRAINING, Area
from service.worker.saliency import Point, salient_point

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
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs that are marked")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the table")
    options = parser.parse_args(arguments)
    shares: dict[str, dict[str, list[float]]] = {}
    marked = {options.data / name: subject for name, subject in (TRAINING | KODAK).items()}
    found_here = {path: subject for path, subject in marked.items() if path.is_file()}
    if not found_here:
        parser.error(f"{options.data} has none of the pictures whose subjects are marked")
    for path, subject in found_here.items():
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
    head = list(rows[0])
    text = ["# Share of the subject that is seen, in %", table(head, [list(row.values()) for row in rows])]
    options.out.mkdir(parents=True, exist_ok=True)
    finish(options.out, "focus", text, {"rows": rows})


if __name__ == "__main__":
    main()
