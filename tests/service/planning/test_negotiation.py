"""Accept headers, with the q-values of RFC 9110."""

import pytest

from service.errors import NotAcceptable
from service.planning.negotiation import accepted_format

ALL = ("avif", "webp", "jpeg", "png")
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
SAFARI_13 = "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"


@pytest.mark.parametrize(
    ("accept", "alpha", "expected"),
    [
        (None, False, "jpeg"),
        ("", False, "jpeg"),
        ("*/*", False, "jpeg"),
        ("*/*", True, "webp"),
        ("image/*", False, "jpeg"),
        (CHROME, False, "avif"),
        (SAFARI_13, False, "png"),
        ("image/webp,*/*", False, "webp"),
        ("image/webp;q=0.5,image/jpeg", False, "jpeg"),
        ("image/avif;q=0,*/*", True, "webp"),
        ("image/avif;q=0.2, image/png;q=0.3", False, "png"),
        ("IMAGE/AVIF ; Q=0.9 , image/jpg", False, "jpeg"),
        ("image/jpeg,image/webp", True, "webp"),
        ("image/jpeg", True, "jpeg"),
        ("text/html,*/*;q=0.1", False, "jpeg"),
        ("image/webp;q=bogus,image/png", False, "png"),
    ],
)
def test_choice(accept, alpha, expected):
    assert accepted_format(accept, ALL, alpha) == expected


def test_impossible_formats_are_not_chosen():
    assert accepted_format("image/webp,image/jpeg;q=0.1", ("jpeg", "png"), False) == "jpeg"


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "*/*;q=0", "image/*;q=0,text/*"])
def test_nothing_acceptable(accept):
    with pytest.raises(NotAcceptable):
        accepted_format(accept, ALL, False)
