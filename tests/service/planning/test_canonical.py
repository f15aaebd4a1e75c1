"""One query for each answer, whatever asked for it."""

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import Size
from service.planning.canonical import canonical_query
from service.planning.sizing import Fit, Wanted, choose_view

LAYERS = [Size(40, 50), Size(80, 100), Size(160, 200)]


def query(wanted: Wanted, output: str = "webp", quality: int | None = None) -> str | None:
    return canonical_query(LAYERS, choose_view(LAYERS, wanted), output, quality, None)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), "format=webp"),
        (Wanted(width=5000), "format=webp"),
        (Wanted(layer=2), "format=webp"),
        (Wanted(width=60), "width=60&format=webp"),
        (Wanted(width=30, dpr=2), "width=60&format=webp"),
        (Wanted(height=48), "width=60&format=webp"),
        (Wanted(width=60, height=60), "width=60&format=webp"),
        (Wanted(width=60, height=48, fit=Fit.COVER), "width=60&format=webp"),
        (Wanted(layer=0), "width=50&format=webp"),
        (Wanted(width=60, height=60, fit=Fit.FILL), "width=60&height=60&fit=fill&format=webp"),
        (Wanted(width=60, height=60, fit=Fit.COVER), "width=60&height=60&fit=cover&format=webp"),
        (Wanted(width=300, upscale=True), "width=300&upscale=true&format=webp"),
    ],
)
def test_the_simplest_query(wanted: Wanted, expected: str) -> None:
    assert query(wanted) == expected


def test_what_decides_beside_the_size() -> None:
    view = choose_view(LAYERS, Wanted(width=60))
    assert canonical_query(LAYERS, view, "jpeg", 7, "#00ff00") == "width=60&format=jpeg&q=7&background=00ff00"


@given(
    st.builds(
        Wanted,
        width=st.none() | st.integers(1, 500),
        height=st.none() | st.integers(1, 500),
        fit=st.sampled_from(Fit),
        dpr=st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.625]),
        upscale=st.booleans(),
    )
)
def test_it_asks_for_the_same_view(wanted: Wanted) -> None:
    view = choose_view(LAYERS, wanted)
    found = canonical_query(LAYERS, view, "png", None, None)
    if found is None:  # a part that was cut out at a fraction of a pixel
        assert view.crop is not None
        return
    given = {name: values[0] for name, values in parse_qs(found).items()}
    again = Wanted(
        width=int(given["width"]) if "width" in given else None,
        height=int(given["height"]) if "height" in given else None,
        fit=Fit(given.get("fit", "contain")),
        upscale=given.get("upscale") == "true",
    )
    assert choose_view(LAYERS, again) == view
