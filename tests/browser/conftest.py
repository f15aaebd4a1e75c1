"""A real headless Chromium, and a service of its own for it to look at."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.running import RunningService

selenium = pytest.importorskip("selenium", reason="selenium is not installed (the extra `browser`)")

from selenium import webdriver  # noqa: E402
from selenium.webdriver import Chrome, ChromeOptions, ChromeService  # noqa: E402


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A running service whose pictures get layers of 60, 120 and 240 pixels."""
    with RunningService(tmp_path_factory.mktemp("page"), widths="60,120", single_layer_below=0) as running:
        yield running


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A fresh headless Chromium; the test fails if a script of the page fails."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium chromium-driver)")
    options = ChromeOptions()
    options.binary_location = chromium
    profile, screen = f"--user-data-dir={tmp_path}", "--screen-info={1920x1080}"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", screen, profile):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=ChromeService(driver))
    window.set_window_size(1280, 1000)
    try:
        yield window
        # An answer with an error status is logged by the browser too, from "network": that is no failure.
        logged = [line for line in window.get_log("browser") if line["source"] != "network"]
        assert [line for line in logged if line["level"] == "SEVERE"] == []
    finally:
        window.quit()
