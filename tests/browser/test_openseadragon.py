"""OpenSeadragon, the viewer that most users of IIIF have, zooms a large picture of ours."""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.npm import script_of
from tests.service.running import RunningService
from tests.service.samples import encoded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

VERSION, SCRIPT = "6.1.1", "build/openseadragon/openseadragon.min.js"
SIZE = (6000, 4000)
WINDOW = (900, 600)
BOUND = 21
"""The least PSNR of what is drawn, in dB. OpenSeadragon draws each tile one pixel too large, to hide seams,
which alone leaves 23 dB of this picture."""
SECONDS = 600
"""A slow machine is no failure here."""

VIEWS = [(0, 0, 6000, 4000), (1800, 1200, 3600, 2400), (3137, 2211, 900, 600)]
"""Parts of the picture to look at: x, y, width, height; the whole one first, the last one pixel for pixel."""

PAGE = f"""<!doctype html>
<meta charset="utf-8"><title>OpenSeadragon</title>
<div id="viewer" style="width: {WINDOW[0]}px; height: {WINDOW[1]}px"></div>
<script src="openseadragon.min.js"></script>
<script>
  const loaded = [], failed = [];
  let drawn = "";
  const viewer = OpenSeadragon({{
    id: "viewer",
    tileSources: new URLSearchParams(location.search).get("info"),
    crossOriginPolicy: "Anonymous",
    drawer: "canvas",
    showNavigationControl: false,
    blendTime: 0,
    timeout: {1000 * SECONDS},
  }});
  viewer.addHandler("tile-loaded", ({{ tile }}) => loaded.push({{ level: tile.level, url: tile.getUrl() }}));
  for (const event of ["tile-load-failed", "open-failed", "add-item-failed"])
    viewer.addHandler(event, ({{ message }}) => failed.push(`${{event}}: ${{message}}`));

  /** Goes to a part of the picture; `drawn` is what is seen there, once all of its tiles have come. */
  function show(x, y, width, height) {{
    const image = viewer.world.getItemAt(0);
    drawn = "";
    viewer.viewport.fitBounds(image.imageToViewportRectangle(x, y, width, height), true);
    viewer.addHandler("update-viewport", function look() {{
      if (!image.getFullyLoaded()) return;
      viewer.removeHandler("update-viewport", look);
      drawn = viewer.drawer.canvas.toDataURL("image/png");
    }});
    viewer.forceRedraw();
  }}
</script>
"""


@dataclass(frozen=True)
class Large:
    """A picture that is stored: the pixels that were uploaded, and where its info.json is."""

    original: Image.Image
    info: str


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a page with OpenSeadragon, on another origin than the service."""
    folder = tmp_path_factory.mktemp("website")
    (folder / "index.html").write_text(PAGE)
    (folder / "openseadragon.min.js").write_bytes(script_of(request.config, "openseadragon", VERSION, SCRIPT))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, website: str) -> Iterator[Large]:
    """A service that holds a picture of 24 megapixels, in layers of the default widths."""
    patient = {"read_deadline": SECONDS, "upload_deadline": SECONDS}
    running = RunningService(tmp_path_factory.mktemp("large"), **patient)
    running.client.timeout = SECONDS
    file = encoded(_large_picture(), "JPEG", quality=95)
    with running:
        stored = running.upload(file)
        yield Large(Image.open(BytesIO(file)), f"{running.url}/iiif/3/{stored['id']}/info.json")


def test_a_large_picture_is_zoomed(browser: Chrome, website: str, large: Large) -> None:
    browser.get(f"{website}?info={large.info}")
    assert _until(browser, "viewer.world.getItemCount()") == 1
    drawn = []
    for view in VIEWS:
        browser.execute_script("show(...arguments)", *view)
        drawn.append(_image(_until(browser, "drawn")))

    assert browser.execute_script("return failed") == []
    loaded: list[dict[str, Any]] = browser.execute_script("return loaded")
    assert len({tile["level"] for tile in loaded}) >= len(VIEWS)
    assert all(tile["url"].startswith(large.info.removesuffix("info.json")) for tile in loaded)
    assert any("/3072,2048,512,512/512,512/0/default." in tile["url"] for tile in loaded)

    assert {picture.size for picture in drawn} == {WINDOW}
    assert _psnr(drawn[0], _part(large.original, VIEWS[0])) > BOUND
    # OpenSeadragon shrinks tiles without a filter: what has waves is compared pixel for pixel.
    x, y, width, height = VIEWS[-1]
    sharp = _part(large.original, VIEWS[-1])
    assert _psnr(drawn[-1], sharp) > BOUND
    # What would be drawn from layer 1280, or two pixels beside it, is no match.
    blurred = sharp.resize((width * 1280 // SIZE[0], height * 1280 // SIZE[0])).resize(WINDOW)
    assert _psnr(blurred, sharp) < BOUND
    assert _psnr(_part(large.original, (x + 2, y, width, height)), sharp) < BOUND


def _until(browser: Chrome, script: str) -> Any:
    """What the JavaScript expression becomes once it is true; fails as soon as a tile does."""
    script = f"return failed.length > 0 ? {{failed}} : {{value: {script}}}"

    def look(window: Chrome) -> Any:
        found = window.execute_script(script)
        assert "failed" not in found, found
        return found["value"]

    return WebDriverWait(browser, SECONDS, 0.2).until(look)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _large_picture() -> Image.Image:
    """24 megapixels, no two parts alike: soft colours under waves that small layers cannot hold."""
    width, height = SIZE
    random = np.random.default_rng(24)
    soft = Image.fromarray(random.integers(80, 176, (height // 80, width // 80, 3), np.uint8)).resize(SIZE)
    wave = np.round(40 * np.sin(2 * np.pi / 10 * np.arange(10))).astype(np.int16)
    waves = wave[np.add.outer(np.arange(height), np.arange(width)) % 10]
    return Image.fromarray((np.asarray(soft) + waves[..., None]).clip(0, 255).astype(np.uint8))


def _part(picture: Image.Image, view: tuple[int, int, int, int]) -> Image.Image:
    """A part of a picture, as large as the window."""
    x, y, width, height = view
    return picture.resize(WINDOW, Image.Resampling.LANCZOS, box=(x, y, x + width, y + height))


def _image(data_url: str) -> Image.Image:
    return Image.open(BytesIO(b64decode(data_url.partition(",")[2]))).convert("RGB")


def _psnr(one: Image.Image, other: Image.Image) -> float:
    """In decibels, of 8-bit values."""
    error = np.asarray(one).astype(float) - np.asarray(other)
    return float(10 * np.log10(255**2 / np.mean(error**2)))
