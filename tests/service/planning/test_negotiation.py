"""Accept headers, with the q-values of RFC 9110."""

import pytest

from service.errors import NotAcceptable
from service.planning.negotiation import accepted_format

ALL = ("avif", "webp", "jpeg", "png")

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
SAFARI = (
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,"
    "image/*;q=0.8,*/*;q=0.5"
)
SAFARI_15 = "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
SAFARI_13 = "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
EDGE_18 = "image/png, image/svg+xml, image/*; q=0.8, */*; q=0.5"
ADDRESS_CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
ADDRESS_SAFARI = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("program", "accept", "photograph", "transparent"),
    [
        ("Chrome, an <img>", CHROME, "avif", "avif"),
        ("Firefox, an <img>", FIREFOX, "avif", "avif"),
        ("Safari, an <img>", SAFARI, "avif", "avif"),
        ("Safari 14 and 15", SAFARI_15, "webp", "webp"),
        ("Safari 13 and before, which shows no WebP", SAFARI_13, "jpeg", "png"),
        ("Edge 18 and before", EDGE_18, "jpeg", "png"),
        ("Chrome, in the address bar", ADDRESS_CHROME, "avif", "avif"),
        ("Safari, in the address bar", ADDRESS_SAFARI, "jpeg", "webp"),
        ("curl, wget, Python", "*/*", "jpeg", "webp"),
        ("no header", None, "jpeg", "webp"),
    ],
    ids=lambda value: value if value and " " in value and "/" not in value else "",
)
def test_programs_get_what_a_person_would_choose(program, accept, photograph, transparent):
    assert accepted_format(accept, ALL, alpha=False) == photograph
    assert accepted_format(accept, ALL, alpha=True) == transparent


@pytest.mark.parametrize(
    ("accept", "alpha", "expected"),
    [
        (None, False, "jpeg"),
        ("", False, "jpeg"),
        ("*/*", False, "jpeg"),
        ("*/*", True, "webp"),
        ("image/*", False, "jpeg"),
        ("image/webp,*/*", False, "webp"),
        ("image/webp;q=0.5,image/jpeg", False, "jpeg"),
        ("image/avif;q=0,*/*", True, "webp"),
        ("image/avif;q=0.2, image/png;q=0.3", False, "avif"),
        ("image/png", False, "png"),
        ("image/png,text/html", True, "png"),
        ("image/png,image/jpeg;q=0.1", False, "jpeg"),
        ("image/png,image/jpeg;q=0.1", True, "png"),
        ("image/png;q=0.1,image/jpeg", True, "jpeg"),
        ("image/png,image/webp;q=0.5", True, "webp"),
        ("image/png;q=0.1,image/webp;q=0,*/*", True, "png"),
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
