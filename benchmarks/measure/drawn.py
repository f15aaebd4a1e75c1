"""Pictures that are no photographs, and some that stand for photographs: drawn, the same everywhere.

Letters are those of the font that Pillow brings along, so no picture depends on what is installed.
"""

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.measure.pictures import Picture

_TEXT = """the of and to in is that for it as was with be by on not he his but at are this have from which
one had Table Figure 3.14 2026 Total Price $49.90 Open Save File Edit View Help def class return import"""
_WORDS = _TEXT.split()
_SHARPER = 4
"""Smooth edges are drawn so many times as large, and made smaller."""

Colour = tuple[int, int, int]
Draw = ImageDraw.ImageDraw


def _text(draw: Draw, box: tuple[int, int, int, int], size: int, ink: Colour, random: Random) -> None:
    """Fill a box (left, top, right, bottom) with lines of words."""
    left, top, right, bottom = box
    font = ImageFont.load_default(size)
    for y in range(top, bottom - size, round(1.4 * size)):
        line = ""
        while draw.textlength(line, font) < 0.93 * (right - left) and random.random() > 0.015:
            line += random.choice(_WORDS) + " "
        while line and draw.textlength(line, font) > right - left:
            line = line[:-1]
        draw.text((left, y), line, ink, font)


def page() -> Image.Image:
    """A page of text in two columns, black on white, with a heading."""
    image, random = Image.new("RGB", (1000, 1400), "white"), Random(1)
    draw = ImageDraw.Draw(image)
    draw.text((80, 60), "Spatially scalable image coding", (20, 20, 20), ImageFont.load_default(44))
    _text(draw, (80, 150, 480, 1340), 17, (20, 20, 20), random)
    _text(draw, (520, 150, 920, 1340), 17, (20, 20, 20), random)
    return image


def line_art() -> Image.Image:
    """Black strokes, arcs and hatching on white, with smooth edges."""
    scale, random = _SHARPER, Random(2)
    image = Image.new("L", (900 * scale, 700 * scale), 255)
    draw = ImageDraw.Draw(image)
    for _ in range(70):
        x, y, reach = random.randrange(900), random.randrange(700), random.randint(20, 220)
        points = [
            (scale * (x + random.randint(-reach, reach)), scale * (y + random.randint(-reach, reach)))
            for _ in range(4)
        ]
        if random.random() < 0.5:
            box = scale * x, scale * y, scale * (x + reach), scale * (y + random.randint(20, 220))
            start = random.randrange(360)
            draw.arc(box, start, start + random.randint(40, 330), 0, scale * random.randint(1, 3))
        else:
            draw.line(points, 0, scale * random.randint(1, 3), joint="curve")
    for x in range(500, 800, 6):
        draw.line((scale * x, scale * 450, scale * (x - 80), scale * 640), 0, scale)
    return image.resize((900, 700), Image.Resampling.BOX).convert("RGB")


def cartoon() -> Image.Image:
    """Flat colours inside dark outlines, with smooth edges."""
    scale, random = _SHARPER, Random(3)
    image = Image.new("RGB", (800 * scale, 600 * scale), (150, 210, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 380 * scale, 800 * scale, 600 * scale), (120, 190, 90))
    ink, wide = (30, 20, 40), 4 * scale
    for _ in range(26):
        x, y = random.randint(-40, 760), random.randint(-40, 560)
        w, h = random.randint(40, 220), random.randint(40, 200)
        fill = random.randrange(256), random.randrange(256), random.randrange(256)
        box = x * scale, y * scale, (x + w) * scale, (y + h) * scale
        if random.random() < 0.6:
            draw.ellipse(box, fill, ink, wide)
        else:
            draw.rounded_rectangle(box, 20 * scale, fill, ink, wide)
    return image.resize((800, 600), Image.Resampling.BOX)


def screenshot() -> Image.Image:
    """A desktop with windows, small text, buttons, shades of colour and a photograph in a corner."""
    image, random = Image.new("RGB", (1440, 900), (236, 238, 242)), Random(4)
    shade = np.linspace((40, 70, 130), (90, 150, 210), 64)[:, None].repeat(1440, 1)
    image.paste(Image.fromarray(shade.round().astype(np.uint8)), (0, 0))
    draw = ImageDraw.Draw(image)
    draw.text((20, 20), "Inbox - 14 new", (255, 255, 255), ImageFont.load_default(22))
    draw.rectangle((0, 64, 240, 900), (248, 249, 251))
    for row in range(18):
        colour = random.randrange(60, 220), random.randrange(60, 220), random.randrange(60, 220)
        draw.ellipse((16, 84 + 44 * row, 44, 112 + 44 * row), colour)
        _text(draw, (56, 84 + 44 * row, 226, 112 + 44 * row), 13, (40, 44, 52), random)
    draw.rounded_rectangle((262, 88, 1000, 876), 10, (255, 255, 255), (205, 210, 218))
    _text(draw, (284, 110, 980, 420), 14, (33, 37, 41), random)
    draw.rectangle((284, 440, 980, 441), (222, 226, 230))
    for bar in range(20):
        height = random.randint(10, 100)
        draw.rectangle((300 + 34 * bar, 560 - height, 322 + 34 * bar, 560), (60, 140 + bar * 4, 200))
    for number in range(6):
        left = 284 + 116 * number
        draw.rounded_rectangle((left, 580, left + 104, 612), 6, (0, 110, 220))
        draw.text((left + 24, 588), "Reply", (255, 255, 255), ImageFont.load_default(13))
    _text(draw, (284, 640, 980, 760), 12, (90, 96, 104), random)
    draw.rounded_rectangle((1020, 88, 1420, 480), 10, (30, 32, 38), (60, 64, 70))
    _text(draw, (1036, 100, 1404, 470), 13, (150, 220, 160), random)
    image.paste(photograph((720, 540)).resize((240, 180), Image.Resampling.LANCZOS), (1020, 520))
    return image


def scan() -> Image.Image:
    """The page of text as a scanner sees it: not quite straight, blurred, on paper with a grain."""
    turned = (
        page().rotate(0.6, Image.Resampling.BICUBIC, fillcolor="white").filter(ImageFilter.GaussianBlur(0.8))
    )
    random = np.random.default_rng(5)
    paper = np.asarray(turned, np.float64) * (0.93, 0.91, 0.86)
    grain = random.normal(0, 4, (*paper.shape[:2], 1)) + random.normal(0, 1.5, paper.shape)
    return Image.fromarray(
        (paper + grain + _cloud((1000, 1400), random)[..., None] * 4).clip(0, 255).astype(np.uint8)
    )


def photograph(size: tuple[int, int] = (960, 640), brightness: float = 1.0) -> Image.Image:
    """What stands for a photograph, of (width, height): clouds of every size and colour, edges, a grain."""
    random = np.random.default_rng(6)
    shared = _cloud(size, random)
    planes = [130 + 45 * shared + 12 * _cloud(size, random) + shift for shift in (8, 0, -14)]
    pixels = np.stack(planes, -1)
    pixels += np.where(_cloud(size, random) > 0.6, 45, 0)[..., None]
    pixels = pixels * brightness + random.normal(0, 2.5, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def dark_photograph() -> Image.Image:
    """The same at night: few levels, and a grain that is as large."""
    return photograph(brightness=0.18)


def icon() -> Image.Image:
    """A picture of 40 x 30 pixels with smooth edges."""
    scale = 8
    image = Image.new("RGB", (40 * scale, 30 * scale), (245, 245, 245))
    draw = ImageDraw.Draw(image)
    draw.ellipse((4 * scale, 3 * scale, 28 * scale, 27 * scale), (220, 60, 40), (60, 10, 10), scale)
    draw.polygon([(20 * scale, 26 * scale), (29 * scale, 6 * scale), (37 * scale, 26 * scale)], (30, 90, 200))
    return image.resize((40, 30), Image.Resampling.BOX)


def small_photograph() -> Image.Image:
    """A photograph of 40 x 30 pixels."""
    return photograph((320, 240)).resize((40, 30), Image.Resampling.LANCZOS)


def panorama() -> Image.Image:
    """A photograph ten times as wide as it is high."""
    return photograph((3000, 300))


def _cloud(size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Noise (height, width) of variance 1 whose amplitude falls with its frequency, as in photographs."""
    width, height = size
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(random.normal(size=(height, width)))
    noise = np.fft.irfft2(spectrum / (np.hypot(y, x) + 2 / max(size)) ** 1.6, (height, width))
    return (noise - noise.mean()) / noise.std()


DRAWN: dict[str, Callable[[], Image.Image]] = {
    "page of text": page,
    "line art": line_art,
    "cartoon": cartoon,
    "screenshot": screenshot,
    "icon": icon,
    "small photograph": small_photograph,
    "scanned text": scan,
    "dark photograph": dark_photograph,
    "photograph": photograph,
    "panorama": panorama,
}
"""By name: pictures that are no photographs first."""


def drawn(name: str) -> Picture:
    """One of :data:`DRAWN`."""
    return Picture(name, np.asarray(DRAWN[name]()))
