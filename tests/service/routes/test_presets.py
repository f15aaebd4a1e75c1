"""Pictures by preset, and services that show them in no other way to everybody."""

import pytest

from service.app import create_app
from service.client.signing import sign
from service.errors import BadParameter
from service.routes.answers import PRIVATE
from service.settings import Settings
from tests.service.routes.test_images import problem

SIZES = ((80, 64), (200, 160))
PRESETS = "card:width=50,height=50,fit=cover,format=webp;small:width=40"


@pytest.fixture
def shown(serve):
    """A client of a service with presets, and the path of a picture."""
    client, library = serve(presets=PRESETS)
    return client, f"/images/{library.add(*SIZES).id}"


@pytest.fixture
def only(serve):
    """The same of a service that shows pictures by presets alone, unless one has the key."""
    client, library = serve(presets=PRESETS, presets_only=True, api_keys="secret", client_hints=True)
    return client, f"/images/{library.add(*SIZES).id}"


async def test_a_preset_stands_for_its_parameters(shown):
    client, path = shown
    by_name = await client.get(f"{path}?preset=card")
    in_full = await client.get(f"{path}?width=50&height=50&fit=cover&format=webp")
    assert by_name.json() == in_full.json()
    assert by_name.headers["etag"] == in_full.headers["etag"]
    assert by_name.headers["link"] == in_full.headers["link"]


async def test_the_url_comes_before_the_preset(shown):
    client, path = shown
    plan = (await client.get(f"{path}?preset=card&format=jpeg&width=30")).json()
    assert (plan["format"], plan["size"]) == ("jpeg", [50, 30])


async def test_a_preset_that_there_is_not(shown):
    client, path = shown
    assert "cards" in problem(await client.get(f"{path}?preset=cards"), 422)["detail"]


@pytest.mark.parametrize(
    ("presets", "told"),
    [
        ("card:wdth=5", "wdth"),
        ("card:width=0", "width"),
        ("card:preset=a", "preset"),
        ("card", "COMPASS_PRESETS: preset card"),
    ],
)
def test_a_service_with_wrong_presets_does_not_start(presets, told):
    with pytest.raises(BadParameter, match=told):
        create_app(Settings(presets=presets))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200), ("?format=png", 200), ("?preset=card", 200), ("?preset=small&format=avif", 200),
        ("?width=80", 200), ("?width=200&format=webp", 200), ("?layer=0", 200),
        ("?width=81", 403), ("?width=80&height=64", 403), ("?preset=card&width=60", 403), ("?q=50", 403),
        ("?width=80&dpr=2", 403), ("?width=80&q=5", 403), ("?background=ff0000", 403),
    ],
)  # fmt: skip
async def test_what_everybody_may_ask_for(only, query, status):
    client, path = only
    answer = await client.get(path + query)
    assert answer.status_code == status
    if status == 403:
        problem(answer, 403)
    assert (await client.get(path + query, headers={"X-API-Key": "secret"})).status_code == 200


async def test_hints_and_iiif_open_no_other_way(only):
    client, path = only
    hinting = {"Sec-CH-Width": "77", "Sec-CH-DPR": "2"}
    plain = (await client.get(f"{path}?width=80")).json()
    assert (await client.get(f"{path}?width=80", headers=hinting)).json() == plain
    image = f"/iiif/3/{path.split('/')[2]}/full/77,/0/default.jpg"
    problem(await client.get(image), 403)
    assert (await client.get(image, headers={"X-API-Key": "secret"})).status_code == 200


@pytest.mark.parametrize("query", ["", "?width=80", "?width=100", "?layer=0"])
async def test_the_stream_and_its_layers_are_for_holders_of_a_key(only, query):
    """Whoever has a layer's stream has every size below it."""
    client, path = only
    stream, key = f"{path}/stream{query}", {"X-API-Key": "secret"}
    problem(await client.get(stream), 403)
    tag = (await client.head(stream, headers=key)).headers["etag"]
    for condition in ({"Range": "bytes=0-9"}, {"If-None-Match": tag}):
        problem(await client.get(stream, headers=condition), 403)
    assert (await client.head(stream)).status_code == 403
    assert (await client.head(stream, headers=key)).status_code == 200


async def test_what_describes_pictures_stays_open(only):
    client, path = only
    picture = path.split("/")[2]
    for described in ("/images", f"{path}/info", f"/iiif/3/{picture}/info.json"):
        assert (await client.get(described)).status_code == 200


async def test_whoever_signs_decides(serve):
    client, library = serve(presets_only=True, url_keys="key")
    path = f"/images/{library.add(*SIZES).id}"
    assert (await client.get(f"{path}?{sign(path, 'width=77', 'key')}")).status_code == 200
    stream = f"{path}/stream"
    assert (await client.head(f"{stream}?{sign(stream, 'width=77', 'key')}")).status_code == 200


@pytest.mark.parametrize("rest", ["?width=77", "/stream", "?preset=card"])
async def test_no_shared_cache_keeps_what_a_key_opened(only, rest):
    client, path = only
    for header in ({"X-API-Key": "secret"}, {"Authorization": "Bearer secret"}):
        answer = await client.head(f"{path}{rest}", headers=header)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, PRIVATE)


async def test_shared_caches_keep_what_is_for_everybody(only):
    client, path = only
    assert (await client.get(f"{path}?preset=card")).headers["cache-control"].startswith("public")
