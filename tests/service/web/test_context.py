"""Who may do what, on the routes themselves, with every way to have keys."""

import pytest

from service.client.signing import sign

SECRET = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(
    ("settings", "headers", "write", "listing", "read"),
    [
        ({}, {}, 201, 200, 200),
        ({"api_keys": "secret"}, {}, 401, 200, 200),
        ({"api_keys": "secret"}, SECRET, 201, 200, 200),
        ({"url_keys": "key"}, {}, 201, 403, 403),
        ({"url_keys": "key"}, {"Authorization": "Bearer "}, 201, 403, 403),
        ({"url_keys": "key", "api_keys": "secret"}, {}, 401, 401, 403),
        ({"url_keys": "key", "api_keys": "secret"}, {"X-API-Key": "wrong"}, 401, 401, 403),
        ({"url_keys": "key", "api_keys": "secret"}, SECRET, 201, 200, 200),
    ],
)
async def test_who_may_do_what(serve, settings, headers, write, listing, read):
    client, library = serve(**settings)
    picture = library.add((50, 40)).id
    assert (await client.post("/images", content=b"x", headers=headers)).status_code == write
    assert (await client.get("/images", headers=headers)).status_code == listing
    for path in (f"/images/{picture}", f"/images/{picture}/info", f"/iiif/3/{picture}/info.json"):
        assert (await client.get(path, headers=headers)).status_code == read
    assert (await client.delete(f"/images/{picture}", headers=headers)).status_code == (
        204 if write == 201 else 401
    )


async def test_a_signature_opens_its_own_url_and_no_other(serve):
    client, library = serve(url_keys="key")
    picture = library.add((50, 40)).id
    query = sign(f"/images/{picture}", "", "key")
    assert (await client.get(f"/images/{picture}?{query}")).status_code == 200
    assert (await client.get(f"/images/{picture}/info?{query}")).status_code == 403
    assert (await client.get(f"/images/{picture}?width=20&{query}")).status_code == 403
