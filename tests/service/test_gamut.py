"""Wide gamuts from the upload to the answer, with a service that keeps them and one that does not."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service.worker.imagefile import read
from tests.service.running import RunningService
from tests.service.samples import adobe_rgb_profile, encoded, photo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wide() -> bytes:
    """A photograph in Adobe RGB."""
    return encoded(photo(240, 160, seed=77), "PNG", icc_profile=adobe_rgb_profile())


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with ``COMPASS_GAMUT=keep``."""
    with RunningService(tmp_path_factory.mktemp("gamut"), gamut="keep") as service:
        yield service


def colours(data: bytes) -> np.ndarray:
    """The picture in sRGB, by its profile if it has one."""
    return np.asarray(read(data, 10**6).rgb).astype(float)


@pytest.mark.parametrize("name", ["png", "webp", "avif", "jpeg"])
def test_answers_have_the_profile_and_the_colours_of_the_upload(
    keeping: RunningService, wide: bytes, name: str
) -> None:
    picture = keeping.upload(wide, quality=95)
    answer = keeping.client.get(f"/images/{picture['id']}", params={"format": name})
    assert answer.status_code == 200
    with Image.open(BytesIO(answer.content)) as image:
        assert image.info["icc_profile"] == adobe_rgb_profile()
    right = colours(wide)
    assert np.abs(colours(answer.content) - right).mean() < 4
    unconverted = np.asarray(Image.open(BytesIO(wide)).convert("RGB")).astype(float)
    assert np.abs(unconverted - right).mean() > 6  # had the profile been dropped, it would show


def test_by_default_pictures_are_in_srgb(service: RunningService, wide: bytes) -> None:
    picture = service.upload(wide, quality=95)
    answer = service.client.get(f"/images/{picture['id']}", params={"format": "png"})
    with Image.open(BytesIO(answer.content)) as image:
        assert "icc_profile" not in image.info
    assert np.abs(colours(answer.content) - colours(wide)).mean() < 4


def test_restart_keeps_the_profile(keeping: RunningService, wide: bytes) -> None:
    picture = keeping.upload(wide, quality=95)
    keeping.stop()
    keeping.start()
    answer = keeping.client.get(f"/images/{picture['id']}", params={"format": "png", "width": 100})
    with Image.open(BytesIO(answer.content)) as image:
        assert image.info["icc_profile"] == adobe_rgb_profile()


def test_an_upload_of_16_bits_is_said_to_be_one(service: RunningService) -> None:
    out = BytesIO()
    ramp = np.add.outer(np.arange(60) * 900, np.arange(80) * 100).astype(np.uint16)
    Image.fromarray(ramp).save(out, "png")
    assert service.upload(out.getvalue())["source_bits"] == 16
