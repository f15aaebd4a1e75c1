"""ThumbHash: a blurred placeholder of a picture in about 25 bytes (evanw.github.io/thumbhash)."""

import base64

import numpy as np
from PIL import Image

from service.worker.transparency import mean_colour

_MAX_EDGE = 100


def thumbhash(rgb: Image.Image, alpha: Image.Image | None = None) -> str:
    """The picture's ThumbHash in standard base64. ``alpha`` may be larger than a reduced ``rgb``."""
    scale = min(1, _MAX_EDGE / max(rgb.size))
    size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
    if alpha is not None:
        rgb = rgb.copy()
        rgb.putalpha(alpha.resize(rgb.size, Image.Resampling.BOX))  # Pillow weights colours by their opacity
    small = rgb.resize(size, Image.Resampling.BOX).convert("RGBA")
    return base64.b64encode(_encode(np.asarray(small, dtype=np.float64) / 255)).decode()


def average_colour(rgb: Image.Image, alpha: Image.Image | None = None) -> str:
    """The mean colour as "#rrggbb", pixels weighted by their opacity."""
    if alpha is None:
        rgb = rgb.resize((min(64, rgb.width), min(64, rgb.height)), Image.Resampling.BOX)
        alpha = Image.new("L", rgb.size, 255)
    mean = mean_colour(rgb, alpha.resize(rgb.size, Image.Resampling.BOX))
    if mean is None:
        return "#ffffff"
    red, green, blue = (round(v) for v in mean)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _round(value: float) -> int:
    return int(value + 0.5)


def _encode(rgba: np.ndarray) -> bytes:
    height, width, _ = rgba.shape
    alpha = rgba[..., 3]
    opacity = alpha.sum()
    mean = (rgba[..., :3] * alpha[..., None]).sum((0, 1)) / opacity if opacity else np.zeros(3)
    has_alpha = bool(opacity < width * height)
    limit = 5 if has_alpha else 7
    longest = max(width, height)
    across = max(1, _round(limit * width / longest))
    down = max(1, _round(limit * height / longest))

    mixed = mean * (1 - alpha[..., None]) + rgba[..., :3] * alpha[..., None]
    red, green, blue = mixed[..., 0], mixed[..., 1], mixed[..., 2]
    luma = _Channel.of((red + green + blue) / 3, max(3, across), max(3, down))
    yellow_blue = _Channel.of((red + green) / 2 - blue, 3, 3)
    red_green = _Channel.of(red - green, 3, 3)

    landscape = width > height
    head = (
        _round(63 * luma.dc)
        | _round(31.5 + 31.5 * yellow_blue.dc) << 6
        | _round(31.5 + 31.5 * red_green.dc) << 12
        | _round(31 * luma.scale) << 18
        | int(has_alpha) << 23
    )
    tail = (
        (down if landscape else across)
        | _round(63 * yellow_blue.scale) << 3
        | _round(63 * red_green.scale) << 9
        | int(landscape) << 15
    )
    out = bytearray(head.to_bytes(3, "little") + tail.to_bytes(2, "little"))
    channels = [luma, yellow_blue, red_green]
    if has_alpha:
        opaque = _Channel.of(alpha, 5, 5)
        out.append(_round(15 * opaque.dc) | _round(15 * opaque.scale) << 4)
        channels.append(opaque)
    nibbles = [_round(15 * value) for channel in channels for value in channel.ac]
    nibbles += [0] * (len(nibbles) % 2)
    out += bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    return bytes(out)


class _Channel:
    """The low cosine coefficients of one plane: mean, largest magnitude, and each one in 0..1."""

    def __init__(self, dc: float, ac: list[float]) -> None:
        self.dc = dc
        self.scale = max((abs(v) for v in ac), default=0.0)
        self.ac = [0.5 + 0.5 / self.scale * v for v in ac] if self.scale else ac

    @classmethod
    def of(cls, plane: np.ndarray, across: int, down: int) -> "_Channel":
        height, width = plane.shape
        columns = np.cos(np.pi / width * np.outer(np.arange(across), np.arange(width) + 0.5))
        rows = np.cos(np.pi / height * np.outer(np.arange(down), np.arange(height) + 0.5))
        wave = rows @ plane @ columns.T / (width * height)
        kept = [
            float(wave[cy, cx])
            for cy in range(down)
            for cx in range(across)
            if (cx or cy) and cx * down < across * (down - cy)
        ]
        return cls(float(wave[0, 0]), kept)
