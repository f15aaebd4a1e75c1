"""Pictures of the page for the documentation: ``python -m tests.browser.screenshots URL ID FILE``.

URL is a running service with some pictures in it, ID the one to open, and FILE what it was uploaded from.
Writes docs/images/page-*.webp.
"""

import base64
import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By

FOLDER = Path(__file__).parents[2] / "docs" / "images"
SECONDS = 180

SETTLED = """
const waiting = [...document.querySelectorAll('.tile')].filter((tile) =>
  tile.getBoundingClientRect().top < innerHeight && !tile.querySelector('.there'));
return busy.hidden && answer.textContent && picture.naturalWidth > 0 && waiting.length === 0;
"""
COMPARE = "document.querySelector('[name=mode][value=compare]').click()"


COMPARED = """
return document.getElementById('original-busy').textContent === ''
  && document.getElementById('original-text-a').textContent.includes('made by');
"""
RIVAL = """
for (const [id, value] of [['original-left', 'webp'], ['original-zoom', '2']]) {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event('change'));
}
document.querySelector('.original').scrollIntoView();
"""


def main(url: str, picture: str, file: str) -> None:
    """Take all of them."""
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
    try:
        address = f"{url.rstrip('/')}/#{picture}"
        take(browser, address, "desktop", (1272, 1060), 1)
        take(browser, address, "dark", (1272, 1060), 1, dark=True, script=COMPARE)
        take(browser, address, "phone", (390, 844), 2, mobile=True)
        take(browser, address, "original", (1272, 1060), 1, script=RIVAL, original=file)
    finally:
        browser.quit()


def take(
    browser: Chrome,
    address: str,
    name: str,
    size: tuple[int, int],
    scale: float,
    dark: bool = False,
    mobile: bool = False,
    script: str = "",
    original: str = "",
) -> None:
    """Open the page in a window of ``size`` CSS pixels, have it compare with an ``original``, run ``script``,
    and write what is seen.
    """
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": scale, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get("about:blank")
    browser.get(address)
    settle(browser)
    if original:
        browser.find_element(By.ID, "original-file").send_keys(str(Path(original).resolve()))
        settle(browser, "return document.getElementById('original-text-b').textContent.endsWith('dB')")
    if script:
        browser.execute_script(script)
        settle(browser, COMPARED if original else SETTLED)
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 85})
    path = FOLDER / f"page-{name}.webp"
    path.write_bytes(base64.b64decode(shot["data"]))
    print(path, path.stat().st_size, "bytes")


def settle(browser: Chrome, settled: str = SETTLED) -> None:
    """Wait until nothing is loading or moving."""
    until = time.monotonic() + SECONDS
    time.sleep(1)
    while not browser.execute_script(settled):
        if time.monotonic() > until:
            raise TimeoutError("the page does not come to rest")
        time.sleep(0.3)
    time.sleep(1)  # pictures fade in


if __name__ == "__main__":
    main(*sys.argv[1:])
