"""Numbers on a command line."""

from argparse import ArgumentTypeError

import pytest

from service.client.arguments import quality, whole, widths


def test_numbers():
    assert (whole("1"), whole(str(2**31)), quality("100"), widths("320, 640")) == (1, 2**31, 100, (320, 640))


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "x", "²", str(2**31 + 1)])
def test_what_is_no_whole_number(text):
    with pytest.raises(ArgumentTypeError, match="not a whole number above 0"):
        whole(text)


def test_what_is_no_quality_and_no_widths():
    with pytest.raises(ArgumentTypeError, match="1 to 100"):
        quality("101")
    with pytest.raises(ArgumentTypeError, match="'x'"):
        widths("3,x")
