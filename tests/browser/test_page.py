"""The page as a visitor uses it."""

import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.service.running import RunningService
from tests.service.samples import encoded, photo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = 120


def until(browser: Chrome, script: str, seconds: float = SECONDS) -> Any:
    """What the JavaScript expression becomes once it is true."""
    return WebDriverWait(browser, seconds, 0.1).until(lambda b: b.execute_script(f"return {script}"), script)


def text(browser: Chrome, element_id: str) -> str:
    return browser.find_element(By.ID, element_id).text


PAINTED = "picture.naturalWidth"
"""The width of the picture that is shown, in pixels."""


@pytest.fixture
def photo_file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A PNG of 240 x 160 pixels, another one for every test."""
    seed = sum(request.node.name.encode())
    path = tmp_path / "holiday.png"
    path.write_bytes(encoded(photo(240, 160, seed), "PNG"))
    return path


@pytest.fixture
def uploaded(browser: Chrome, service: RunningService, photo_file: Path) -> str:
    """The id of a picture that was just chosen on the page, and is open there."""
    browser.get(service.url)
    browser.find_element(By.ID, "file").send_keys(str(photo_file))
    until(browser, "transfers.textContent.includes('holiday.png')")
    picture = until(browser, "location.hash.slice(1)")
    until(browser, f"{PAINTED} > 0")
    return str(picture)


def test_an_upload_opens_and_joins_the_gallery(
    browser: Chrome, service: RunningService, uploaded: str
) -> None:
    info = service.client.get(f"/images/{uploaded}/info").json()
    assert text(browser, "viewer-title") == "holiday.png"
    assert text(browser, "viewer-date").startswith("240 × 160")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#layers button")) == len(info["layers"]) == 3
    # The gallery may have asked for the smallest layer already.
    assert re.match("[23] of 3 layers decoded", text(browser, "decoded"))
    assert "stored, 100 %" in text(browser, "read")
    assert {"fetch", "encode"} <= {line.split()[0] for line in text(browser, "legend").splitlines()}
    tile = browser.find_element(By.CSS_SELECTOR, f"[data-id='{uploaded}'] .tile")
    assert tile.get_attribute("aria-current") == "true"
    assert "data:image/png" in tile.value_of_css_property("background-image")
    browser.execute_script("arguments[0].scrollIntoView()", tile)  # what is out of view is not fetched
    until(browser, f"document.querySelector(`[data-id='{uploaded}'] img.there`)")
    assert not browser.find_elements(By.CSS_SELECTOR, ".transfer")
    snippet = text(browser, "snippet")
    assert all(f"{service.url}/images/{uploaded}?width={w} {w}w" in snippet for w in (60, 120, 240))


def test_a_tile_waits_for_a_busy_service(browser: Chrome, service: RunningService) -> None:
    picture = service.upload(encoded(photo(90, 60, 77), "PNG"))["id"]
    browser.get(service.url)
    until(browser, f"document.querySelector(`[data-id='{picture}'] img.there`)")
    browser.execute_script(
        """
        const fetched = window.fetch;
        window.refused = 0;
        window.fetch = (path, ...rest) => {
          if (!path.includes("layer=0") || window.refused) return fetched(path, ...rest);
          window.refused += 1;
          const busy = { title: "Overloaded", status: 503 };
          return Promise.resolve(new Response(JSON.stringify(busy), { status: 503 }));
        };
        const search = document.getElementById("search");
        search.value = "";
        search.dispatchEvent(new Event("input"));
        """
    )
    until(browser, "window.refused === 1")
    until(browser, f"document.querySelector(`[data-id='{picture}'] img.there`)")


def test_the_slider_asks_for_smaller_widths(browser: Chrome, uploaded: str) -> None:
    slider = browser.find_element(By.ID, "width-slider")
    slider.send_keys(Keys.HOME)
    until(browser, f"{PAINTED} === 32")
    assert browser.find_element(By.ID, "width").get_property("value") == "32"
    assert slider.get_attribute("aria-valuetext") == "32 pixels"
    used = browser.find_elements(By.CSS_SELECTOR, "#layers .used")
    assert [button.text.split("\n")[0] for button in used] == ["60 × 40"]
    assert "stored, 100 %" not in text(browser, "read")


def test_a_layer_and_an_exact_width_can_be_chosen(browser: Chrome, uploaded: str) -> None:
    browser.find_elements(By.CSS_SELECTOR, "#layers button")[1].click()
    until(browser, f"{PAINTED} === 120")
    number = browser.find_element(By.ID, "width")
    number.send_keys(Keys.CONTROL + "a", Keys.NULL, "100", Keys.ENTER)
    until(browser, f"{PAINTED} === 100")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#layers .used")) == 2


def test_two_widths_are_compared(browser: Chrome, uploaded: str) -> None:
    browser.find_element(By.CSS_SELECTOR, ".mode label:last-child").click()
    until(browser, f"document.getElementById('picture-left').naturalWidth === 60 && {PAINTED} === 240")
    split = browser.find_element(By.ID, "split")
    split.send_keys(Keys.HOME)
    clip = "getComputedStyle(document.getElementById('picture-left')).clipPath"
    assert until(browser, f"{clip}") == "inset(0px 100% 0px 0px)"
    split.send_keys(Keys.END)
    assert browser.execute_script(f"return {clip}") in ("inset(0px 0% 0px 0px)", "inset(0px)")


def test_two_qualities_are_compared(browser: Chrome, uploaded: str) -> None:
    browser.find_element(By.CSS_SELECTOR, ".mode label:last-child").click()
    for side, width, quality in (("left", "240 px", "quality 10"), ("right", "240 px", "lossless")):
        Select(browser.find_element(By.ID, f"{side}-width")).select_by_visible_text(width)
        Select(browser.find_element(By.ID, f"{side}-quality")).select_by_visible_text(quality)
    until(browser, "document.getElementById('right-answer').textContent.startsWith('PNG')")
    shown = "document.getElementById('picture-left')"
    assert until(browser, f"{shown}.naturalWidth === 240 && {PAINTED} === 240")
    assert re.fullmatch(r"AVIF, [\d.]+ k?B", text(browser, "left-answer"))
    # Both are the same pixels of the same layer, and differ by the loss of the left one.
    script = f"""
      const at = (image) => {{
        const context = new OffscreenCanvas(240, 160).getContext("2d");
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, 240, 160).data;
      }};
      const [left, right] = [at({shown}), at(picture)];
      return left.reduce((sum, value, k) => sum + Math.abs(value - right[k]), 0) / left.length"""
    assert 0.2 < browser.execute_script(script) < 20
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert any(name.endswith("?width=240&q=10") for name in asked)
    assert any(name.endswith("?width=240&format=png") for name in asked)


def test_a_picture_is_deleted_after_a_question(
    browser: Chrome, service: RunningService, uploaded: str
) -> None:
    browser.find_element(By.ID, "delete").click()
    browser.find_element(By.ID, "confirm").send_keys(Keys.ESCAPE)
    assert service.client.get(f"/images/{uploaded}/info").status_code == 200
    browser.find_element(By.ID, "delete").click()
    browser.find_element(By.CSS_SELECTOR, "#confirm [value=yes]").click()
    until(browser, f"!document.querySelector(`[data-id='{uploaded}']`) && viewer.hidden")
    assert service.client.get(f"/images/{uploaded}/info").status_code == 404


def test_the_stream_is_saved_with_the_key(browser: Chrome, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(saved)})
    with RunningService(tmp_path, api_keys="secret", presets_only=True) as service:
        key = {"X-API-Key": "secret"}
        png = encoded(photo(90, 60, 5), "PNG")
        picture = service.client.post("/images", content=png, headers=key).json()["id"]
        browser.get(service.url)
        browser.execute_script("sessionStorage.setItem('compass-key', 'secret')")
        browser.get(f"{service.url}/#{picture}")
        until(browser, f"{PAINTED} > 0")
        browser.find_element(By.ID, "stream").click()
        file = saved / f"{picture}.cmps"
        WebDriverWait(browser, SECONDS, 0.1).until(lambda _: file.is_file())
        stored = service.client.get(f"/images/{picture}/stream", headers=key)
        assert file.read_bytes() == stored.raise_for_status().content


def test_a_refused_upload_says_why(browser: Chrome, service: RunningService, tmp_path: Path) -> None:
    letter = tmp_path / "letter.png"
    letter.write_text("Dear all, this is not a picture.")
    browser.get(service.url)
    browser.find_element(By.ID, "file").send_keys(str(letter))
    until(browser, "document.querySelector('.transfer.failed [role=alert]')")
    failed = browser.find_element(By.CSS_SELECTOR, ".transfer.failed")
    assert "Unsupported picture" in failed.text
    failed.find_element(By.TAG_NAME, "button").click()
    assert not browser.find_elements(By.CSS_SELECTOR, ".transfer")


def test_an_address_of_a_missing_picture_says_so(browser: Chrome, service: RunningService) -> None:
    browser.get(f"{service.url}/#{'a' * 32}")
    assert "Not found" in until(browser, "document.getElementById('gallery-problem').textContent")


def test_nothing_is_wider_than_a_phone(browser: Chrome, uploaded: str) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    until(browser, "innerWidth === 360")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360


def test_dark_where_the_system_is(browser: Chrome, service: RunningService) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    browser.get(service.url)
    light = browser.execute_script(f"return {background}")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    assert browser.execute_script(f"return {background}") != light


def test_no_other_host_is_asked(browser: Chrome, service: RunningService, uploaded: str) -> None:
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert all(name.startswith((service.url, "blob:", "data:")) for name in asked)
