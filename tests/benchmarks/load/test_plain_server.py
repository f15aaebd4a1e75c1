"""The plain server keeps and resizes as it says, so that what it is compared with is fair."""

from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks.load.plain_server import create_app, keep, resize
from benchmarks.measure.drawn import drawn
from benchmarks.measure.pictures import psnr
from model.codec.codec import Codec
from model.geometry import Size
from service.settings import Settings
from tests.service.samples import encoded, oriented, photo, pixels


def test_what_is_kept_is_an_upright_avif():
    stored, width, height = keep(oriented(photo(80, 60), 6))
    with Image.open(BytesIO(stored)) as image:
        assert (image.format, image.size) == ("AVIF", (80, 60)) == ("AVIF", (width, height))
    assert abs(pixels(stored) - pixels(encoded(photo(80, 60), "PNG"))).mean() < 10


def test_what_is_kept_is_as_good_as_a_stream_of_the_service():
    picture = Image.fromarray(drawn("photograph").pixels).resize((384, 256))
    original, settings = np.asarray(picture), Settings()
    codec = Codec.load("lite")
    sizes = settings.ladder_of(None).sizes(Size(256, 384))
    stream = codec.encode(original, sizes, settings.quality)
    stored, _, _ = keep(encoded(picture, "PNG"))
    kept = pixels(stored).astype(np.uint8)
    assert psnr(original, kept) == pytest.approx(psnr(original, codec.decode(stream)), abs=1)


@pytest.mark.parametrize(("width", "size"), [(40, (40, 30)), (80, (80, 60)), (500, (80, 60))])
@pytest.mark.parametrize("name", ["avif", "webp", "jpeg"])
def test_what_is_answered_has_the_width_and_the_format(width, size, name):
    stored, _, _ = keep(encoded(photo(80, 60), "PNG"))
    with Image.open(BytesIO(resize(stored, width, name))) as image:
        assert (image.size, image.format) == (size, name.upper())


@pytest.mark.slow
async def test_it_answers_like_the_service():
    app = create_app(1)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=120) as client,
    ):
        kept = (await client.post("/images", content=encoded(photo(80, 60), "PNG"))).json()
        accept = {"Accept": "image/webp,*/*"}
        answer = await client.get(f"/images/{kept['id']}?width=40", headers=accept)
        assert answer.headers["content-type"] == "image/webp"
        assert pixels(answer.content).shape == (30, 40, 3)
        assert answer.headers["compass-bytes-stored"] == str(kept["bytes"])
        assert (await client.get("/images/none")).status_code == 404
