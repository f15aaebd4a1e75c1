"""The page for whoever judges the codec and keeps many pictures: comparison, zoom, queue, search."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.browser.npm import script_of
from tests.browser.test_page import SECONDS, text, until
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

AXE = "4.10.3"
ROOT = Path(__file__).parents[2]
VIEWER = ROOT / "service/static/vendor/openseadragon"
FETCH = ROOT / "docker/viewer.sh"


@pytest.fixture
def picture_file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A PNG of 240 x 160 grainy pixels, another one for every test: WebP can have as few bytes as we have."""
    path, seed = tmp_path / f"{request.node.name}.png", sum(request.node.name.encode()) + 7
    pixels = np.asarray(photo(240, 160, seed)) + np.random.default_rng(seed).normal(0, 12, (160, 240, 1))
    path.write_bytes(encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "PNG"))
    return path


@pytest.fixture
def opened(browser: Chrome, service: RunningService, picture_file: Path) -> str:
    """The id of a picture that was just uploaded, and is open."""
    browser.get(service.url)
    browser.find_element(By.ID, "file").send_keys(str(picture_file))
    picture = until(browser, "location.hash.slice(1)")
    until(browser, "picture.naturalWidth > 0")
    return str(picture)


def compared(browser: Chrome, seconds: float = SECONDS) -> tuple[str, str]:
    """What is said of both sides, once they are there."""
    until(browser, "!document.getElementById('original-stage').hidden", seconds)
    until(
        browser,
        "document.getElementById('original-busy').textContent === '' "
        "&& document.getElementById('original-b').naturalWidth > 0",
        seconds,
    )
    return text(browser, "original-text-a"), text(browser, "original-text-b")


def test_after_an_upload_the_picture_stands_beside_its_original(
    browser: Chrome, service: RunningService, opened: str
) -> None:
    left, right = compared(browser)
    info = service.client.get(f"/images/{opened}/info").json()
    assert left.endswith("the original")
    decibels = float(right.split(", ")[-1].removesuffix(" dB"))
    assert 25 < decibels < 60
    Select(browser.find_element(By.ID, "original-left")).select_by_value("webp")
    until(browser, "document.getElementById('original-text-a').textContent.includes('made by this browser')")
    rival = text(browser, "original-text-a")
    assert rival.endswith("dB")
    number, unit = rival.split(",")[0].split(" ")
    assert float(number) * {"B": 1, "kB": 1000}[unit] < 1.05 * info["bytes"]  # it is rounded


def test_the_comparison_is_zoomed_and_its_slider_moved(browser: Chrome, opened: str) -> None:
    compared(browser)
    width = "document.getElementById('original-sheet').clientWidth"
    Select(browser.find_element(By.ID, "original-zoom")).select_by_value("1")
    assert browser.execute_script(f"return {width}") == 240
    Select(browser.find_element(By.ID, "original-zoom")).select_by_value("4")
    assert browser.execute_script(f"return {width}") == 960
    split = browser.find_element(By.ID, "original-split")
    split.send_keys(Keys.HOME)
    clip = "getComputedStyle(document.getElementById('original-a')).clipPath"
    assert "100%" in until(browser, clip)


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the layers that it has unless it is told otherwise."""
    with RunningService(tmp_path_factory.mktemp("roomy")) as running:
        yield running


def on_screen(browser: Chrome) -> np.ndarray:
    """The pixels of the comparison, as far as they are seen: int, (height, width, 3)."""
    seen = browser.find_element(By.ID, "original-pan").screenshot_as_png
    return np.asarray(Image.open(BytesIO(seen)).convert("RGB")).astype(int)


def test_24_megapixels_are_compared_pixel_by_pixel(
    browser: Chrome, roomy: RunningService, tmp_path: Path
) -> None:
    minutes = 600
    picture = photo(6000, 4000, 24)
    file = tmp_path / "large.jpg"
    picture.save(file, quality=92)
    decoded = np.asarray(Image.open(file)).astype(int)
    browser.get(roomy.url)
    browser.find_element(By.ID, "file").send_keys(str(file))
    until(browser, "location.hash.slice(1)", minutes)
    right = compared(browser, minutes)[1]
    assert 25 < float(right.split(", ")[-1].removesuffix(" dB")) < 60
    Select(browser.find_element(By.ID, "original-zoom")).select_by_value("1")
    pan = browser.find_element(By.ID, "original-pan")
    sheet = "document.getElementById('original-sheet')"
    assert browser.execute_script(f"return [{sheet}.clientWidth, {sheet}.clientHeight]") == [6000, 4000]
    browser.execute_script("arguments[0].scrollIntoView(); arguments[0].scrollTo(3210, 1987)", pan)
    x, y, border = browser.execute_script(
        "return [arguments[0].scrollLeft, arguments[0].scrollTop, arguments[0].clientLeft]", pan
    )
    assert (x, y) == (3210, 1987)
    split = browser.find_element(By.ID, "original-split")
    for key, least, most in ((Keys.END, 0, 1), (Keys.HOME, 0.1, 12)):  # the original, then what is stored
        split.send_keys(key)
        seen = on_screen(browser)[border:, border:][:300, :600]
        off = np.abs(seen - decoded[y : y + seen.shape[0], x : x + seen.shape[1]]).mean()
        assert least <= off < most


def test_full_screen_shows_the_picture_as_large_as_the_screen(browser: Chrome, roomy: RunningService) -> None:
    picture = roomy.upload(encoded(photo(2400, 1600, 55), "JPEG"), name="wide")
    browser.set_window_size(1700, 1000)
    browser.get(f"{roomy.url}/#{picture['id']}")
    until(browser, "picture.naturalWidth > 0")
    before = browser.execute_script("return picture.naturalWidth")
    browser.find_element(By.ID, "fullscreen").click()
    until(browser, "document.fullscreenElement?.id === 'stage'")
    until(browser, "stage.clientWidth === innerWidth && stage.clientHeight === innerHeight")
    assert before < browser.execute_script("return innerWidth") < 2400
    until(browser, "picture.naturalWidth === innerWidth * devicePixelRatio")
    fitted = "getComputedStyle(picture).objectFit"
    assert browser.execute_script(f"return {fitted}") == "contain"
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT)  # is the browser's, here
    assert browser.execute_script("return location.hash") == f"#{picture['id']}"
    browser.execute_script("return document.exitFullscreen()")  # as Escape does, which drivers do not send
    until(browser, "document.fullscreenElement === null && !viewer.hidden")


def test_a_stored_picture_is_compared_with_the_file_that_is_chosen_again(
    browser: Chrome, service: RunningService, opened: str, picture_file: Path, tmp_path: Path
) -> None:
    browser.get("about:blank")
    browser.get(f"{service.url}/#{opened}")
    until(browser, "picture.naturalWidth > 0")
    assert not browser.find_element(By.ID, "original-stage").is_displayed()
    other = tmp_path / "other.png"
    other.write_bytes(encoded(photo(100, 160), "PNG"))
    browser.find_element(By.ID, "original-file").send_keys(str(other))
    assert "another one" in until(browser, "document.getElementById('original-problem').textContent")
    browser.find_element(By.ID, "original-file").send_keys(str(picture_file))
    assert compared(browser)[1].endswith("dB")
    assert not browser.find_element(By.ID, "original-problem").is_displayed()


def test_many_files_are_a_queue_that_pauses_and_sums_up(
    browser: Chrome, service: RunningService, tmp_path: Path
) -> None:
    files = []
    for n in range(30):
        files.append(tmp_path / f"queue {n}.png")
        files[-1].write_bytes(encoded(photo(90, 60, 5000 + n), "PNG"))
    browser.get(service.url)
    browser.find_element(By.ID, "file").send_keys("\n".join(map(str, files)))
    browser.find_element(By.ID, "pause").click()
    assert text(browser, "pause") == "Go on"
    until(
        browser, "!document.querySelector('.transfer .state')?.textContent.match(/Coding|Uploading|Storing/)"
    )
    done = browser.execute_script("return document.querySelectorAll('.transfer').length")
    assert 0 < done <= 30
    browser.find_element(By.ID, "pause").click()
    until(browser, "document.getElementById('queue-text').textContent.startsWith('30 stored')")
    assert "% saved" in text(browser, "queue-text")
    assert browser.execute_script("return document.getElementById('queue-bar').value") == 1
    assert not browser.find_elements(By.CSS_SELECTOR, ".transfer")

    search = browser.find_element(By.ID, "search")
    search.send_keys("QUEUE 1")
    tiles = "[...document.querySelectorAll('.caption')].map((caption) => caption.textContent)"
    until(browser, f"{tiles}.length === 11")
    assert all(name.startswith("queue 1") for name in browser.execute_script(f"return {tiles}"))

    browser.find_element(By.ID, "select").click()
    for box in browser.find_elements(By.CSS_SELECTOR, ".choose")[:3]:
        box.click()
    assert text(browser, "delete-chosen") == "Delete 3"
    browser.find_element(By.ID, "delete-chosen").click()
    assert "3 pictures" in text(browser, "confirm")
    browser.find_element(By.CSS_SELECTOR, "#confirm [value=yes]").click()
    until(browser, f"{tiles}.length === 8")
    found = service.client.get("/images", params={"name": "queue 1"}).json()["images"]
    assert len(found) == 8


def test_an_upload_under_way_is_shown_after_a_reload(
    browser: Chrome, service: RunningService, tmp_path: Path
) -> None:
    file = tmp_path / "long.png"
    file.write_bytes(encoded(photo(2400, 1600, 77), "PNG"))
    browser.get(service.url)
    browser.find_element(By.ID, "file").send_keys(str(file))
    until(browser, "JSON.parse(sessionStorage.getItem('compass-uploads') ?? '[]')[0]?.job")
    browser.refresh()
    until(browser, "document.getElementById('transfers').textContent.includes('long.png')")
    picture = until(browser, "location.hash.slice(1)")
    assert service.client.get(f"/images/{picture}/info").json()["name"] == "long.png"
    assert until(browser, "sessionStorage.getItem('compass-uploads')") == "[]"


def test_the_keyboard_alone_goes_on_back_and_out(
    browser: Chrome, service: RunningService, opened: str
) -> None:
    newer = service.upload(encoded(photo(120, 80, 321), "PNG"), name="newer")
    browser.get("about:blank")
    browser.get(f"{service.url}/#{opened}")
    until(browser, "picture.naturalWidth > 0 && document.activeElement.id === 'viewer-title'")
    until(browser, f"document.querySelector(`[data-id='{newer['id']}']`)")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_LEFT)
    until(browser, f"location.hash === '#{newer['id']}'")
    until(browser, "document.getElementById('viewer-title').textContent === 'newer'")
    body.send_keys(Keys.ARROW_RIGHT)
    until(browser, f"location.hash === '#{opened}'")
    body.send_keys(Keys.ESCAPE)
    until(browser, "viewer.hidden && location.hash === ''")


def reached(browser: Chrome, selector: str) -> None:
    """Press Tab until the focus is on what the selector names, and can be seen there."""
    for _ in range(200):
        if browser.execute_script("return document.activeElement.matches(arguments[0])", selector):
            assert browser.execute_script("return document.activeElement.matches(':focus-visible')")
            return
        ActionChains(browser).send_keys(Keys.TAB).perform()
    raise AssertionError(f"Tab does not get to {selector}")


def press(browser: Chrome, *keys: str) -> None:
    """Press keys, wherever the focus is."""
    ActionChains(browser).send_keys(*keys).perform()


def test_a_picture_is_found_opened_named_compared_and_deleted_without_a_mouse(
    browser: Chrome, service: RunningService
) -> None:
    picture = service.upload(encoded(photo(240, 160, 654), "PNG"), name="harbour")["id"]
    browser.get(service.url)
    tile = f"[data-id='{picture}'] .tile"
    until(browser, f"document.querySelector(`{tile}`)")
    reached(browser, "#file")  # uploads are in reach, too: Enter opens the system's own window
    reached(browser, "#search")
    press(browser, "harb")
    until(browser, "document.querySelectorAll('.tile').length === 1")
    reached(browser, tile)
    press(browser, Keys.ENTER)
    until(browser, "picture.naturalWidth > 0 && document.activeElement.id === 'viewer-title'")
    reached(browser, "[name=mode]")
    press(browser, Keys.ARROW_RIGHT)
    until(browser, "!document.getElementById('compare-controls').hidden")
    reached(browser, "#split")
    press(browser, Keys.HOME)
    assert browser.execute_script("return document.getElementById('split').value") == "0"
    reached(browser, "#name")
    press(browser, Keys.END, " at dawn", Keys.ENTER)
    until(browser, "document.getElementById('viewer-title').textContent === 'harbour at dawn'")
    reached(browser, "#delete")
    press(browser, Keys.ENTER)
    until(browser, "document.getElementById('confirm').open")
    reached(browser, "#confirm [value=yes]")
    press(browser, Keys.ENTER)
    until(browser, "viewer.hidden")
    assert service.client.get(f"/images/{picture}/info").status_code == 404


def test_a_picture_is_named(browser: Chrome, service: RunningService, opened: str) -> None:
    name = browser.find_element(By.ID, "name")
    name.clear()
    name.send_keys("Boats at dawn", Keys.ENTER)
    until(browser, "document.getElementById('viewer-title').textContent === 'Boats at dawn'")
    until(browser, f"document.querySelector(`[data-id='{opened}'] .caption`).textContent === 'Boats at dawn'")
    assert service.client.get(f"/images/{opened}/info").json()["name"] == "Boats at dawn"


@pytest.fixture(scope="module")
def viewer() -> None:
    """OpenSeadragon where the page looks for it; tests that need it are skipped where npm cannot fetch it."""
    if (VIEWER / "openseadragon.min.js").is_file():
        return
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Debian: npm), and OpenSeadragon not fetched (make viewer)")
    fetched = subprocess.run([FETCH, VIEWER], capture_output=True, text=True, timeout=300, check=False)
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch OpenSeadragon: {fetched.stderr.strip()[-500:]}")


@pytest.mark.usefixtures("viewer")
def test_deep_zoom_shows_the_tiles_of_this_service(
    browser: Chrome, service: RunningService, opened: str
) -> None:
    browser.find_element(By.ID, "zoom").click()
    until(browser, "document.querySelector('#zoom-stage canvas')")
    asked = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    until(
        browser, f"{asked}.some((name) => name.includes('/iiif/3/{opened}/') && !name.endsWith('info.json'))"
    )
    assert not browser.find_element(By.ID, "zoom-problem").is_displayed()
    browser.find_element(By.ID, "zoom-pixels").click()
    names = browser.execute_script(f"return {asked}")
    assert all(name.startswith((service.url, "blob:", "data:")) for name in names)
    browser.find_element(By.CSS_SELECTOR, "#zoom-dialog form > :last-child").click()
    until(browser, "!document.getElementById('zoom-dialog').open")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that asks for a key."""
    with RunningService(tmp_path_factory.mktemp("guarded"), api_keys="right", url_keys="signing") as running:
        yield running


def test_a_wrong_key_is_said(browser: Chrome, guarded: RunningService) -> None:
    browser.get(guarded.url)
    for key, said in (("wrong", "asks for an API key"), ("right", "refused that key")):
        until(browser, f"document.getElementById('key-title').textContent.includes('{said}')")
        until(browser, "document.getElementById('key-dialog').open")
        field = browser.find_element(By.ID, "key")
        field.clear()
        field.send_keys(key)
        browser.find_element(By.CSS_SELECTOR, "#key-dialog [value=yes]").click()
    until(browser, "!document.getElementById('empty').hidden")
    assert not browser.find_element(By.ID, "key-dialog").is_displayed()


def test_targets_are_large_enough_for_a_thumb(browser: Chrome, opened: str) -> None:
    compared(browser)
    small = browser.execute_script("""
      const ofOthers = "[type=radio], [type=file], .split, .choose";
      return [...document.querySelectorAll("button, a, select, input")]
        .filter((one) => !one.matches(ofOthers) && one.getClientRects().length)
        .map((one) => [one.id || one.outerHTML.slice(0, 60), one.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 43.9 || height < 43.9)
        .map(([name, { width, height }]) => `${name} ${width} x ${height}`)""")
    assert small == []


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The script of axe-core, from npm or an earlier run."""
    return script_of(request.config, "axe-core", AXE, "axe.min.js").decode()


@pytest.mark.npm
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_fault(browser: Chrome, opened: str, axe: str, scheme: str, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    compared(browser)
    browser.find_element(By.ID, "select").click()
    browser.execute_script(axe)
    browser.set_script_timeout(120)
    found: list[dict[str, Any]] = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(({ violations }) => done(violations))"
    )
    told = [{"id": one["id"], "nodes": [node["html"][:150] for node in one["nodes"]]} for one in found]
    assert told == [], json.dumps(told, indent=1)
    wide = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter((one) => !one.closest('.snippet, .pan')"
        " && one.getBoundingClientRect().right > arguments[0] + 1).map((one) => one.outerHTML.slice(0, 150))",
        width,
    )
    assert wide == []
