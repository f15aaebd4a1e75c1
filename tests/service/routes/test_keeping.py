"""What is kept beside the pixels: focus, makers, names; and what is refused instead of half understood."""

from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.routes.test_images import problem
from tests.service.samples import encoded, photo
from tests.service.worker.test_credits import upload
from tests.service.worker.test_saliency import scene


def ball_at(answer: httpx.Response) -> float:
    """Where the ball of a scene is, as a share of the width."""
    pixels = np.asarray(Image.open(BytesIO(answer.content)).convert("RGB")).astype(int)
    red = pixels[..., 0] - pixels[..., 1] > 60
    assert red.any(), "the ball is not to be seen"
    return float(np.nonzero(red)[1].mean() / pixels.shape[1])


def test_what_is_cut_out_follows_the_focus(service):
    data = encoded(scene((400, 200), (0.85, 0.5)), "PNG")
    plain = service.upload(data)
    cut = {"width": 80, "height": 100, "fit": "cover", "format": "png"}
    middle = service.client.get(plain["url"], params=cut)
    near = service.client.get(plain["url"], params={**cut, "focus": "0.85,0.5"})
    auto = service.client.get(plain["url"], params={**cut, "focus": "auto"})
    with pytest.raises(AssertionError, match="not to be seen"):
        ball_at(middle)
    assert 0.3 < ball_at(near) < 0.8
    assert 0.2 < ball_at(auto) < 0.9
    assert len({answer.headers["etag"] for answer in (middle, near)}) == 2
    link = near.headers["link"].partition(">")[0].removeprefix("<")
    assert "focus=0.85%2C0.5" in link
    assert service.client.get(link).headers["etag"] == near.headers["etag"]
    assert plain["focus"] is None
    assert plain["salient"][0] > 0.7


@pytest.mark.parametrize("focus", ["0.85,0.5", "auto"])
def test_a_focus_stored_with_the_picture_is_the_usual_one(service, focus):
    data = encoded(scene((400, 200), (0.85, 0.5)), "PNG")
    plain, focused = service.upload(data), service.upload(data, focus=focus)
    assert plain["id"] != focused["id"]
    assert focused["focus"] == ("auto" if focus == "auto" else [0.85, 0.5])
    cut = {"width": 80, "height": 100, "fit": "cover", "format": "png"}
    usual = service.client.get(focused["url"], params=cut)
    assert 0.2 < ball_at(usual) < 0.9
    assert "focus" not in usual.headers["link"]
    with pytest.raises(AssertionError, match="not to be seen"):
        ball_at(service.client.get(focused["url"], params={**cut, "focus": "0.5,0.5"}))


@pytest.mark.parametrize(
    "focus", ["", "0.5", "0.5,", "2,0", "1.5,0", "nan,0", "0,0,0", "-0.1,0", "middle", "0.5;1"]
)
def test_what_is_no_focus_is_refused(service, stored, focus):
    cut = {"width": 20, "height": 20, "fit": "cover", "focus": focus}
    problem(service.client.get(stored["url"], params=cut), 422)
    problem(service.client.post("/images", content=b"x", params={"focus": focus}), 422)


def test_a_focus_where_nothing_is_cut_off_is_refused(service, stored):
    for asked in ({"width": 20}, {"width": 20, "fit": "cover"}, {"width": 20, "height": 20}):
        answer = service.client.get(stored["url"], params={**asked, "focus": "0.2,0.2"})
        assert "fit=cover" in problem(answer, 422)["detail"]


def test_makers_come_back_where_the_upload_wished_it(service):
    data = upload(artist="Ann", copyright="(c) Ann")
    silent, named = service.upload(data), service.upload(data, metadata="copyright")
    assert silent["id"] != named["id"]
    assert silent["credits"] is None
    assert named["credits"] == {"creator": "Ann", "copyright": "(c) Ann", "credit": ""}
    for kind in ("avif", "webp", "jpeg"):
        for picture, expected in ((silent, None), (named, "Ann")):
            body = service.client.get(picture["url"], params={"format": kind, "width": 30}).content
            with Image.open(BytesIO(body)) as image:
                assert image.getexif().get(0x013B) == expected
                assert 0x8825 not in image.getexif()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "AVIF", "PNG", "TIFF"])
def test_animations_are_refused_or_taken_by_their_first_frame(service, kind):
    frames = [photo(60, 40, seed=n) for n in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert "frame=0" in problem(service.client.post("/images", content=data), 415)["detail"]
    kept = service.upload(data, frame=0)
    shown = np.asarray(Image.open(BytesIO(service.client.get(kept["url"], params={"format": "png"}).content)))
    assert np.abs(shown.astype(int) - np.asarray(frames[0])).mean() < 25
    problem(service.client.post("/images", content=data, params={"frame": 1}), 422)


def test_names_are_kept_changed_and_searched(service):
    data = encoded(photo(60, 40, seed=410), "PNG")
    kept = service.upload(data, name="Sommer\n am  Meer.png")
    assert kept["name"] == "Sommer am Meer.png"
    assert service.upload(data, name="other")["name"] == "Sommer am Meer.png"
    found = service.client.get("/images", params={"name": "AM MEER"}).json()
    assert [picture["id"] for picture in found["images"]] == [kept["id"]]
    changed = service.client.patch(kept["url"], params={"name": "Winter"})
    assert changed.json() == {**kept, "name": "Winter"}
    assert service.client.get(f"{kept['url']}/info").json()["name"] == "Winter"
    assert service.client.get("/images", params={"name": "am meer"}).json()["images"] == []
    problem(service.client.patch(f"/images/{'a' * 32}", params={"name": "x"}), 404)
    problem(service.client.patch(kept["url"], params={"name": "x" * 201}), 422)
    problem(service.client.patch(kept["url"], params={"id": "x"}), 422)


async def test_a_search_goes_on_where_it_stopped(serve):
    client, library = serve()
    for n in range(7):
        library.add((60, 40), data=bytes([n]), created=1000.0 + n, name=f"boat {n}" if n % 2 else "tree")
    first = (await client.get("/images", params={"name": "boat", "limit": 2})).json()
    rest = (await client.get("/images", params={"name": "boat", "limit": 2, "cursor": first["next"]})).json()
    assert [picture["name"] for picture in first["images"]] == ["boat 5", "boat 3"]
    assert [picture["name"] for picture in rest["images"]] == ["boat 1"]
    assert rest["next"] is None


async def test_changing_names_needs_a_key(serve):
    client, library = serve(api_keys="secret")
    picture = library.add((60, 40)).id
    assert (await client.patch(f"/images/{picture}", params={"name": "x"})).status_code == 401
