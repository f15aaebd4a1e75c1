"""What clients write is made fit for one line of a page, a header or a file's metadata."""

import pytest

from service.messages.text import on_one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("Boats at dawn", "Boats at dawn"),
        ("  two\n\tlines \r\n", "two lines"),
        ("a\0b\x1bc", "a b c"),
        ("no \ud800 half", "no half"),
        ("Ångström 写真", "Ångström 写真"),
        ("\u202eevil", "evil"),
    ],
)
def test_a_text_is_one_printable_line(text: str, line: str) -> None:
    assert on_one_line(text) == line
