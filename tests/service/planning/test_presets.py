"""How presets are written."""

import pytest

from service.errors import BadParameter
from service.planning.presets import parse_presets


def test_names_and_their_parameters() -> None:
    text = " card: width = 480 , height=480,fit=cover;hero:width=1600; "
    card = {"width": "480", "height": "480", "fit": "cover"}
    assert parse_presets(text) == {"card": card, "hero": {"width": "1600"}}
    assert parse_presets("") == {}


@pytest.mark.parametrize(
    "text",
    ["card", "card:", ":width=1", "Card:width=1", "card:width", "card:width=", "card:=1", "card:width=1,,",
     "card:width=1,width=2", "card:width=1;card:width=2", "a b:width=1", "x" * 33 + ":width=1"],
)  # fmt: skip
def test_what_is_no_preset(text: str) -> None:
    with pytest.raises(BadParameter):
        parse_presets(text)
