"""Synthetic screen content for training: pages of text, line art, charts and flat graphics.

Photographs alone teach nothing about sharp edges on flat ground, and such pictures then fall apart.
"""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

EDGE = 768
"""Edge of the pictures in pixels."""
_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts")
_TEXT = """the of and to in a is that for it as was with be by on not he his but at are this have from which
one had Table Figure 3.14 2026 Total Price $49.90 Open Save File Edit View Help http://localhost:8000 = ( )
{ } [ ] Straße café naïve coöperate København 12:30 100 % return def class import None True lambda x: yield"""
_WORDS = _TEXT.split()

Colour = tuple[int, int, int]


@cache
def _font_files() -> list[str]:
    folders = (Path(name).expanduser() for name in _FONT_FOLDERS)
    return sorted(str(p) for folder in folders for p in folder.rglob("*") if p.suffix in {".ttf", ".otf"})


def screens(count: int, seed: int) -> list[Tensor]:
    """``count`` pictures (EDGE, EDGE, 3) uint8, of each kind in turn; seed and fonts determine them."""
    kinds: list[Callable[[random.Random], Image.Image]] = [_page, _window, _lines, _chart, _shapes]
    made = []
    for i in range(count):
        rng = random.Random(seed * 1_000_003 + i)
        picture = kinds[i % len(kinds)](rng)
        if rng.random() < 0.3:
            angle = rng.uniform(-10, 10)
            corner = picture.getpixel((0, 0))
            picture = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=corner)
        made.append(torch.from_numpy(np.asarray(picture).copy()))
    return made


def _colour(rng: random.Random) -> Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _ground_and_ink(rng: random.Random) -> tuple[Colour, Colour]:
    """Mostly dark on light or light on dark."""
    kind = rng.random()
    if kind < 0.5:
        return (255, 255, 255), (rng.randrange(60),) * 3
    if kind < 0.7:
        return (rng.randrange(50),) * 3, (rng.randrange(190, 256),) * 3
    return _colour(rng), _colour(rng)


def _font(rng: random.Random, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    files = _font_files()
    return ImageFont.truetype(rng.choice(files), size) if files else ImageFont.load_default(size)


def _blank(rng: random.Random) -> tuple[Image.Image, ImageDraw.ImageDraw, Colour]:
    ground, ink = _ground_and_ink(rng)
    picture = Image.new("RGB", (EDGE, EDGE), ground)
    return picture, ImageDraw.Draw(picture), ink


def _write(
    rng: random.Random, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], size: int, ink: Colour
) -> None:
    """Fill a box (left, top, right, bottom) with lines of words."""
    font, (left, top, right, bottom) = _font(rng, size), box
    letters = max(1, int((right - left) / (0.55 * size)))
    for y in range(top, bottom - size, int(size * 1.35)):
        line = ""
        while len(line) < letters and rng.random() > 0.01:
            line += rng.choice(_WORDS) + " "
        draw.text((left, y), line[:letters], fill=ink, font=font)


def _page(rng: random.Random) -> Image.Image:
    """Text in one to three columns, in one size of letters."""
    picture, draw, ink = _blank(rng)
    columns, margin, size = rng.randint(1, 3), rng.randint(5, 60), rng.randint(9, 40)
    width = (EDGE - margin) // columns
    for i in range(columns):
        left = margin + i * width
        _write(rng, draw, (left, margin, left + width - margin // 2 - 4, EDGE - margin), size, ink)
    return picture


def _window(rng: random.Random) -> Image.Image:
    """Panels, buttons and small text, as a program's window has them."""
    picture, draw, _ = _blank(rng)
    for _ in range(rng.randint(6, 24)):
        left, top = rng.randrange(-50, EDGE), rng.randrange(-50, EDGE)
        right, bottom = left + rng.randint(30, 420), top + rng.randint(18, 300)
        ground, ink = _ground_and_ink(rng)
        radius = rng.choice([0, 0, 4, 12])
        draw.rounded_rectangle((left, top, right, bottom), radius, fill=ground, outline=ink)
        _write(rng, draw, (left + 6, top + 4, right - 6, bottom), rng.randint(9, 22), ink)
    return picture


def _lines(rng: random.Random) -> Image.Image:
    """Line art: strokes, polygons and arcs of one to five pixels."""
    picture, draw, ink = _blank(rng)
    for _ in range(rng.randint(20, 120)):
        width = rng.randint(1, 5)
        x, y = rng.randrange(EDGE), rng.randrange(EDGE)
        reach = rng.randint(10, 300)
        points = [(x + rng.randint(-reach, reach), y + rng.randint(-reach, reach)) for _ in range(4)]
        if rng.random() < 0.4:
            start = rng.randrange(360)
            box = (x, y, x + reach, y + rng.randint(10, 300))
            draw.arc(box, start, start + rng.randint(30, 330), fill=ink, width=width)
        else:
            draw.line(points, fill=ink, width=width, joint="curve")
    return picture


def _chart(rng: random.Random) -> Image.Image:
    """Axes, bars or curves, and labels."""
    picture, draw, ink = _blank(rng)
    for tick in range(80, EDGE - 40, rng.randint(20, 80)):
        draw.line((60, tick, EDGE - 20, tick), fill=ink if rng.random() < 0.1 else (200, 200, 200))
        draw.text((10, tick - 6), str(rng.randrange(1000)), fill=ink, font=_font(rng, 12))
    draw.line((60, 40, 60, EDGE - 40, EDGE - 20, EDGE - 40), fill=ink, width=2)
    if rng.random() < 0.5:
        step = rng.randint(8, 60)
        for x in range(70, EDGE - 40, step):
            draw.rectangle((x, rng.randint(60, EDGE - 60), x + step * 0.7, EDGE - 41), fill=_colour(rng))
    else:
        for _ in range(rng.randint(1, 6)):
            y = rng.randint(100, EDGE - 100)
            points = [
                (x, y := min(EDGE - 50, max(50, y + rng.randint(-40, 40)))) for x in range(60, EDGE, 12)
            ]
            draw.line(points, fill=_colour(rng), width=rng.randint(1, 4))
    _write(rng, draw, (90, 8, EDGE, 40), 20, ink)
    return picture


def _shapes(rng: random.Random) -> Image.Image:
    """Flat graphics: overlapping shapes without shading, as logos and cartoons have them."""
    picture, draw, ink = _blank(rng)
    outline = ink if rng.random() < 0.5 else None
    for _ in range(rng.randint(3, 40)):
        x, y, w, h = (
            rng.randint(-100, EDGE),
            rng.randint(-100, EDGE),
            rng.randint(8, 400),
            rng.randint(8, 400),
        )
        kind, fill = rng.randrange(3), _colour(rng)
        if kind == 0:
            draw.ellipse((x, y, x + w, y + h), fill=fill, outline=outline, width=3)
        elif kind == 1:
            draw.rectangle((x, y, x + w, y + h), fill=fill, outline=outline, width=3)
        else:
            corners = [(x + rng.randint(0, w), y + rng.randint(0, h)) for _ in range(rng.randint(3, 7))]
            draw.polygon(corners, fill=fill, outline=outline)
    if rng.random() < 0.5:
        _write(rng, draw, (40, rng.randrange(EDGE // 2), EDGE - 40, EDGE), rng.randint(30, 120), ink)
    return picture
