"""Arguments of command lines that clients and the service share. What reads one raises ArgumentTypeError."""

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


def add_wishes(parser: argparse.ArgumentParser, when: str = "") -> None:
    """How uploads are coded, and what else is wished for of them: what makes another picture of a file."""
    parser.add_argument("--quality", type=quality, help=f"{when}1-100")
    parser.add_argument("--widths", type=widths, help=f"{when}layer widths in pixels, such as 320,640,1280")
    parser.add_argument("--max-width", type=whole, help=f"{when}pixels; wider pictures are made this wide")
    parser.add_argument("--focus", type=focus, help=f"{when}what cuts keep in sight: 0.3,0.6, or auto")
    parser.add_argument("--metadata", choices=("none", "copyright"), help=f"{when}whether makers are named")
    parser.add_argument("--frame", type=int, choices=(0,), help=f"{when}0 takes the first of an animation")
