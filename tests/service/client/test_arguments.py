"""Numbers on a command line."""

from argparse import ArgumentTypeError

import pytest

from service.client.arguments import focus, quality, whole, widths


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


def test_a_focus():
    assert (focus("0.30,.6"), focus("0,1"), focus("auto")) == ((0.3, 0.6), (0.0, 1.0), "auto")


@pytest.mark.parametrize("text", ["", "0.5", "0.1,0.2,0.3", "1.1,0", "0,-0.1", "nan,0", "x,0", "Auto"])
def test_what_is_no_focus(text):
    with pytest.raises(ArgumentTypeError, match="two shares"):
        focus(text)
