"""Every route refuses what it does not know."""

import pytest

from service.app import create_app
from service.settings import Settings
from tests.service.routes.test_images import problem

DOCUMENT = create_app(Settings()).openapi()
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
IDS = [f"{method} {path}" for path, method, _ in OPERATIONS]


def filled(path: str, picture: str) -> str:
    """A URL of a route."""
    parts = {"picture": picture, "region": "full", "size": "max", "rotation": "0", "file": "default.jpg"}
    return path.format(**parts, job="a" * 32)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
async def test_unknown_and_repeated_parameters_are_named(serve, path, method, operation):
    client, library = serve()
    url = filled(path, library.add((50, 40)).id)
    answer = await client.request(method, f"{url}?frobnicate=1")
    assert answer.status_code == 422
    if method != "head":
        assert problem(answer, 422)["detail"] == "frobnicate: no parameter of this URL"
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query" and method != "head":
            name = parameter["name"]
            answer = await client.request(method, f"{url}?{name}=1&{name}=1")
            assert problem(answer, 422)["detail"] == f"{name}: given 2 times"


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_the_document_says_so(path, method, operation):
    assert "application/problem+json" in operation["responses"]["422"]["content"]


async def test_a_signature_is_a_parameter_where_one_is_asked_for(serve):
    client, library = serve()
    picture = library.add((50, 40)).id
    assert (await client.get(f"/images/{picture}?signature=x&expires=1")).status_code == 200
    problem(await client.get(f"/images/{picture}?signature=x&signature=x"), 422)
    problem(await client.delete(f"/images/{picture}?signature=x"), 422)
    problem(await client.get("/?signature=x"), 422)


async def test_the_misspelt_width_is_not_the_whole_picture(serve):
    client, library = serve()
    answer = await client.get(f"/images/{library.add((50, 40)).id}?widht=20")
    assert problem(answer, 422)["detail"] == "widht: no parameter of this URL; width is"
