"""What each parameter of a URL means, read off the plan that is made of it."""

import pytest

from service.planning.quality import output_quality
from tests.service.routes.test_images import problem

SIZES = ((50, 40), (100, 80), (200, 160))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"layer": 2, "size": [160, 200], "crop": None}),
        ("width=30", {"layer": 0, "size": [24, 30]}),
        ("width=51", {"layer": 1, "size": [41, 51]}),
        ("width=25&dpr=2", {"layer": 0, "size": [40, 50]}),
        ("width=40&height=40&fit=cover", {"size": [40, 40], "layer": 0, "crop": [0, 5, 40, 45]}),
        ("width=40&height=40&fit=fill", {"size": [40, 40], "crop": None}),
        ("width=300", {"size": [160, 200]}),
        ("width=300&upscale=true", {"size": [240, 300]}),
        ("layer=1", {"layer": 1, "size": [80, 100]}),
        ("format=jpg", {"format": "jpeg", "quality": output_quality("jpeg", 55)}),
        ("format=avif&q=7", {"format": "avif", "quality": 7}),
        ("format=png&q=7", {"format": "png", "quality": 100}),
        ("format=jpeg&background=ff0000", {"background": "#ffffff"}),  # nothing shows through
    ],
)
async def test_pictures(serve, query, expected):
    client, library = serve()
    answer = await client.get(f"/images/{library.add(*SIZES).id}?{query}")
    plan = answer.json()
    assert {name: plan[name] for name in expected} == expected


async def test_the_background_of_a_transparent_picture(serve):
    client, library = serve()
    path = f"/images/{library.add((20, 20), alpha=(9,), alpha_crcs=(1,)).id}"
    for given in ("ff00AA", "%23ff00aa"):
        plan = (await client.get(f"{path}?format=jpeg&background={given}")).json()
        assert plan["background"] == "#ff00aa"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"quality": None, "widths": None, "max_width": None, "ttl": None}),
        (
            "quality=9&widths=3,%2040&max_width=80&ttl=5",
            {"quality": 9, "widths": (3, 40), "max_width": 80, "ttl": 5},
        ),
    ],
)
async def test_uploads(serve, query, expected):
    client, library = serve()
    assert (await client.post(f"/images?{query}", content=b"picture")).status_code == 201
    assert library.kept == expected


@pytest.mark.parametrize(
    "name", ["width", "height", "dpr", "q", "layer", "fit", "format", "upscale", "background"]
)
async def test_a_bad_value_is_named(serve, name):
    client, library = serve()
    answer = await client.get(f"/images/{library.add(*SIZES).id}?{name}=*")
    assert problem(answer, 422)["detail"].startswith(f"{name}: ")
