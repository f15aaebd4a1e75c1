"""Numbers on a command line, as argparse reads them: each raises ArgumentTypeError for what it is not."""

import argparse
from typing import Literal


def whole(text: str) -> int:
    """A whole number, 1 to 2^31."""
    value = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= value <= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def quality(text: str) -> int:
    """A quality, 1 to 100."""
    value = whole(text)
    if value > 100:
        raise argparse.ArgumentTypeError("the quality is 1 to 100")
    return value


def widths(text: str) -> tuple[int, ...]:
    """Widths in pixels with commas between them."""
    return tuple(whole(part.strip()) for part in text.split(","))


def focus(text: str) -> tuple[float, float] | Literal["auto"]:
    """Two shares, 0 to 1, of a picture's width and height; or ``auto``."""
    if text == "auto":
        return "auto"
    try:
        across, down = (float(part) for part in text.split(","))
    except ValueError:
        across = down = -1.0
    if not (0 <= across <= 1 and 0 <= down <= 1):
        raise argparse.ArgumentTypeError("the focus is auto, or two shares of 0 to 1, such as 0.3,0.6")
    return across, down
