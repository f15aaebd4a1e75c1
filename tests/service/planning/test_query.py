"""Unknown and repeated names of a query."""

import pytest

from service.errors import BadParameter
from service.planning.query import check_query

KNOWN = ("width", "height", "fit", "q")


@pytest.mark.parametrize("query", ["", "width=1", "width=1&height=2&fit=cover&q=3", "q=", "q", "&&"])
def test_known_names_once(query):
    check_query(query, KNOWN)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("widht=500", "widht: no parameter of this URL; width is"),
        ("Width=500", "Width: no parameter of this URL; width is"),
        ("utm_source=x", "utm_source: no parameter of this URL"),
        ("=5", ": no parameter of this URL"),
        ("wid%74h=1&width=2", "width: given 2 times"),
        ("q=1&q=1&q=", "q: given 3 times"),
        ("x1=1&q=1&q=2", "x1: no parameter of this URL; q: given 2 times"),
        ("&".join(f"zz{n}=1" for n in range(7)), "; and 2 more"),
        ("a" * 99, "a" * 40 + ": no parameter"),
    ],
)
def test_wrong_names_are_named(query, detail):
    with pytest.raises(BadParameter) as refused:
        check_query(query, KNOWN)
    assert detail in str(refused.value)


def test_anything_is_a_parameter_of_nothing():
    with pytest.raises(BadParameter):
        check_query("width=1", ())
