"""Numbers on a command line, as argparse reads them: each raises ArgumentTypeError for what it is not."""

import argparse


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
