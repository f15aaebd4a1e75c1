"""Write the measured tables of README, quality and model cards, from docs/figures/: ``make docs``.

`make figures` measures. A table stands between the comments `figures: NAME ARGUMENTS` and `end of
figures`; NAME is one of the functions in `TABLES`.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/quality.md", "model/weights/lite.md", "model/weights/large.md")
BLOCK = re.compile(r"(<!-- figures: ([\w ]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
NAMES = {"jpeg": "JPEG", "jpeg2000": "JPEG 2000", "webp": "WebP", "avif": "AVIF"}
SUMMARY = {"JPEG": "jpeg", "WebP": "webp", "AVIF": "avif"}


def measured(profile: str) -> dict[str, Any]:
    """What `make figures` found for a profile."""
    return json.loads((ROOT / f"docs/figures/{profile}.json").read_text())


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, its first column to the left."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def signed(value: float | None) -> str:
    """A BD-rate in %, "" where there is none."""
    return "" if value is None else f"{value:+.1f}"


def models(*profiles: str) -> str:
    """Which weights were measured, and when."""
    rows = [(f"`{p}`", f"`{measured(p)['model']}`", measured(p)["date"]) for p in profiles]
    return table(["profile", "model", "measured"], rows)


def rates(profile: str) -> str:
    """One layer: rate and distortion by quality."""
    rows = [(q, f"{bpp:.4f}", f"{psnr:.2f}") for q, bpp, psnr in measured(profile)["one"]["points"]]
    return table(["quality", "bits per pixel", "PSNR, dB"], rows)


def rivals(*profiles: str) -> str:
    """One layer: BD-rates against other formats and the published model."""
    known = [*NAMES, "mbt2018-mean"]
    rows = [
        (f"`{p}`", *(signed(measured(p)["one"]["bd_rate"].get(name)) + " %" for name in known))
        for p in profiles
    ]
    return table(["one layer, against", *(NAMES.get(name, name) for name in known)], rows)


def layers(profile: str) -> str:
    """Three layers: of each the bits up to it, its own, and its PSNR, by quality."""
    rows = [
        (quality, *(f"{up_to:.3f} / {own:.3f} / {psnr:.2f}" for up_to, own, psnr in found))
        for quality, found in measured(profile)["layers"].items()
    ]
    return table(["quality", *(f"layer {k}, 1/{4 >> k} of the width" for k in range(3))], rows)


def ladders(profile: str, *names: str) -> str:
    """Several layers: BD-rates of the largest, a row for each ladder."""
    runs = [measured(profile)["ladders"][name] for name in names]
    rows = [(run["pictures"], *row) for run in runs for row in run["bd_rate"].items()]
    known = (name for _, _, rates in rows for name, rate in rates.items() if rate is not None)
    columns = list(dict.fromkeys(known))
    return table(
        ["layers", "pictures", *columns],
        [(ladder, count, *(signed(rates.get(name)) for name in columns)) for count, ladder, rates in rows],
    )


def summary() -> str:
    """README's table: one, three and five sizes, of both profiles."""
    three, five = "1 : 2 : 4", "1 : 1.41 : 2 : 2.83 : 4"
    found = {}
    for profile in ("lite", "large"):
        runs = measured(profile)["ladders"]
        found[profile] = runs["three"]["bd_rate"][three], runs["many"]["bd_rate"][five]
    head = ["bytes at equal PSNR of the largest size, against"]
    for profile in found:
        head += [f"`{profile}`: that size alone", "three sizes", "five sizes"]
    names = {name: (f"{key} single", f"{key} simulcast") for name, key in SUMMARY.items()}
    names["AVIF with the PSNR of our layer in every size"] = ("", "avif matched")
    names["our own base layer, one stream per size"] = ("single layer", "simulcast")
    rows = []
    for name, (single, simulcast) in names.items():
        row = [name]
        for of_three, of_five in found.values():
            cells = (of_three.get(single), of_three[simulcast], of_five[simulcast])
            row += [f"{signed(cell)} %" if cell is not None else "" for cell in cells]
        rows.append(row)
    return table(head, rows)


TABLES: dict[str, Callable[..., str]] = {
    f.__name__: f for f in (models, rates, rivals, layers, ladders, summary)
}


def filled(page: str) -> str:
    """A page's text with all its tables as they were measured last."""

    def block(match: re.Match[str]) -> str:
        name, *arguments = match[2].split()
        return match[1] + TABLES[name](*arguments) + match[3]

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(page.read_text()))
