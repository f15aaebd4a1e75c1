"""Text that clients give, for people to read."""


def on_one_line(text: str) -> str:
    """Without control characters and lone surrogates, white space as single spaces."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
