"""If-None-Match, Range and If-Range."""

import pytest

from service.web.conditional import Span, Unsatisfiable, matches, requested_span


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ('W/"a"', True),
        ('"a"', True),
        ('"b", W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("", False),
    ],
)
def test_if_none_match(header, expected):
    assert matches('W/"a"', header) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-", Span(10, 100)),
        ("bytes=10-1000", Span(10, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("pages=1-2", None),
        ("nonsense", None),
    ],
)
def test_range(header, expected):
    assert requested_span(100, '"a"', header, None) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_unsatisfiable(header):
    with pytest.raises(Unsatisfiable):
        requested_span(100, '"a"', header, None)


def test_if_range_is_compared_strongly():
    assert requested_span(100, '"a"', "bytes=0-9", '"a"') == Span(0, 10)
    assert requested_span(100, '"a"', "bytes=0-9", '"b"') is None
    assert requested_span(100, '"a"', "bytes=0-9", 'W/"a"') is None
    assert requested_span(100, '"a"', "bytes=0-9", "Wed, 21 Oct 2015 07:28:00 GMT") is None
