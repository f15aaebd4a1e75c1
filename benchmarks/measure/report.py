"""Tables, plots and the closing line of JSON that all benchmarks share."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.measure.bdrate import NoOverlap, Point, bd_rate, overlap
from benchmarks.measure.curves import Curve


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats with two decimals, None as a dash."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    columns = [_column(list(texts), first=not at) for at, texts in enumerate(zip(*cells, strict=True))]
    return "\n".join(f"| {' | '.join(row)} |" for row in zip(*columns, strict=True))


def _column(texts: list[str], first: bool) -> list[str]:
    width = max(3, *map(len, texts))
    head, *body = (text.ljust(width) if first else text.rjust(width) for text in texts)
    return [head, "-" * width if first else "-" * (width - 1) + ":", *body]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def compare(anchor: Sequence[Point], test: Sequence[Point]) -> float | None:
    """BD-rate in percent, rounded to 0.01; None where the curves share no PSNR."""
    try:
        return round(bd_rate(anchor, test), 2)
    except NoOverlap:
        return None


def shared_range(anchor: Sequence[Point], test: Sequence[Point]) -> str | None:
    """The PSNRs a BD-rate stands for, "27.7 to 35.0"; None where there are none."""
    try:
        low, high = overlap(anchor, test)
    except NoOverlap:
        return None
    return f"{low:.1f} to {high:.1f}"


def plot_curves(path: Path, title: str, ours: Curve, others: Sequence[Curve]) -> None:
    """Write PSNR over bits per pixel as a PNG, limited to where ``ours`` lies."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    right = 1.25 * max(bpp for bpp, _ in ours.points)
    low, high = (limit(psnr for _, psnr in ours.points) for limit in (min, max))
    visible = [c for c in others if any(bpp < right and low - 1 < psnr < high + 1 for bpp, psnr in c.points)]
    for number, curve in enumerate(visible):
        axes.plot(*zip(*curve.points, strict=True), label=curve.name, linewidth=1, **_style(number))
    axes.plot(*zip(*ours.points, strict=True), "o-", color="C0", label=ours.name, linewidth=2.5, zorder=10)
    axes.set(xlim=(0, right), ylim=(low - 1, high + 1))
    axes.set(title=title, xlabel="bits per pixel of the largest layer", ylabel="PSNR of 8-bit RGB, dB")
    _finish(figure, path)


def plot_over_scale(path: Path, title: str, xlabel: str, lines: Mapping[str, Sequence[Point]]) -> None:
    """Write BD-rate over scale factors as a PNG; the paper's figures, if named so, dashed."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for name, points in lines.items():
        style = {"linestyle": "--", "alpha": 0.6} if name.startswith("paper") else {"marker": "o"}
        axes.plot(*zip(*points, strict=True), label=name, **style)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(title=title, xlabel=xlabel, ylabel="BD-rate, %")
    _finish(figure, path)


def _style(number: int) -> dict[str, Any]:
    return {"color": f"C{number % 9 + 1}", "linestyle": ("-", "--", ":", "-.")[number // 9 % 4]}


def _finish(figure: Figure, path: Path) -> None:
    axes = figure.axes[0]
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small", ncols=2)
    figure.savefig(path, dpi=110)


def finish(out: Path, name: str, paragraphs: Sequence[str], result: Mapping[str, Any]) -> None:
    """Print the tables and, as the last line, the result; keep both in ``out``."""
    text, line = "\n\n".join(paragraphs), json.dumps(result)
    (out / f"{name}.md").write_text(text + "\n")
    (out / f"{name}.json").write_text(line + "\n")
    print(text)
    print(line)
