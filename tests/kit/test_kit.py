"""The kit for JavaScript does what the Python client and the service do, sign by sign."""

import json
import os
import random
import subprocess
import sys
import time
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.client.placeholder import placeholder
from service.client.signing import signed_url
from service.client.urls import picture_url, query_of, sizes, srcset
from service.worker.thumbhash import thumbhash
from tests.kit.conftest import KIT, Run
from tests.service.running import ROOT, RunningService
from tests.service.samples import encoded, photo

ID = "abcdefghijklmnopqrstuvwxyz234567"
SIGNS = "abcXYZ019-._~!*'()+ %/&=?äß€\N{FULLWIDTH TILDE}\N{GRINNING FACE}\N{MUSICAL SYMBOL G CLEF}"


def random_urls(count: int, encoded_only: bool = False) -> list[str]:
    """URLs of pictures with queries that nobody would write, the same every time."""
    chance = random.Random(25)
    signs = SIGNS if not encoded_only else "abcXYZ019-._~!*'()"

    def text(most: int) -> str:
        return "".join(chance.choice(signs) for _ in range(chance.randint(0, most)))

    urls = []
    for _ in range(count):
        origin = chance.choice(["", "https://img.example.org", "http://localhost:8000"])
        name = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(32))
        path = chance.choice(
            [f"/images/{name}", f"/images/{name}/info", f"/iiif/3/{name}/full/max/0/default.jpg"]
        )
        pairs = [(text(5), text(8)) for _ in range(chance.randint(0, 6))]
        pairs += chance.choice([[], [("width", "640"), ("signature", "old"), ("expires", "1")]])
        query = query_of(dict(pairs)) if chance.random() < 0.8 else "&&a=&b&a=2&=&%C3%28&%zz=%f0%9f&c+d=+"
        urls.append(f"{origin}{path}" + (f"?{query}" if query else ""))
    return urls


def test_a_hundred_urls_are_signed_alike_by_kit_client_and_command(kit: Run) -> None:
    urls, key = random_urls(100), "geheim \N{KEY}"
    expires = [None if k % 3 else 2_000_000_000 + k for k in range(100)]
    script = "const answer = (pairs) => Promise.all(pairs.map(([url, end]) => kit.signedUrl(url, KEY, end)));"
    ours = kit(f"const KEY = {json.dumps(key)};\n{script}", list(zip(urls, expires, strict=True)))
    assert ours == [signed_url(url, key, end) for url, end in zip(urls, expires, strict=True)]
    assert len(set(ours)) == 100

    command = """
import sys
from service.cli import main
for url in sys.stdin.read().split("\\n"):
    assert main(["sign", url]) == 0
"""
    environment = {**os.environ, "COMPASS_URL_KEYS": key, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", command],
        input="\n".join(urls),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == kit(
        f"const KEY = {json.dumps(key)};\n{script}", [(u, None) for u in urls]
    )


def test_what_the_kit_signs_opens_a_picture(kit: Run, tmp_path: Path) -> None:
    with RunningService(tmp_path, url_keys="one,two", api_keys="master") as running:
        running.client.headers["X-API-Key"] = "master"
        stored = running.upload(encoded(photo(60, 40), "PNG"))
        del running.client.headers["X-API-Key"]
        wanted = picture_url(stored["id"], width=30, fit="cover", height=20, format="png")
        url = kit(
            "const answer = ([url, end]) => kit.signedUrl(url, 'one', end);", [wanted, int(time.time()) + 60]
        )
        assert running.client.get(wanted).status_code == 403
        assert running.client.get(url).status_code == 200
        assert running.client.get(url.replace("width=30", "width=31")).status_code == 403


def test_urls_are_the_same_in_both_languages(kit: Run) -> None:
    cases: list[tuple[str, Any, str]] = [
        (ID, {}, ""),
        (ID, {"width": 640, "height": None, "dpr": 1.5, "upscale": True}, "https://img.example.org/"),
        (f"https://img.example.org/pictures/images/{ID}", {"focus": [0.3, 0.6], "fit": "cover"}, ""),
        (f"/{ID}", {"focus": "auto", "dpr": 2, "q": 75, "background": "a b&c"}, ""),
        (f"/images/{ID}", {"preset": "card"}, "https://cdn.example.org"),
    ]
    ours = kit("const answer = (cases) => cases.map((one) => kit.pictureUrl(...one));", cases)
    theirs = [picture_url(picture, base, **parameters) for picture, parameters, base in cases]
    assert ours == theirs
    assert ours[1] == f"https://img.example.org/images/{ID}?width=640&dpr=1.5&upscale=true"
    assert ours[2] == f"https://img.example.org/pictures/images/{ID}?focus=0.3%2C0.6&fit=cover"
    script = """const answer = (bad) => {
      try { return kit.pictureUrl(bad); } catch (error) { return error.name; }
    };"""
    assert kit(script, "https://elsewhere.example.org/cat.jpg") == "RangeError"


def test_srcset_and_sizes_follow_from_info(kit: Run, service: RunningService) -> None:
    info = service.upload(encoded(photo(120, 80, seed=7), "PNG"), widths="30,60")
    script = """const answer = ({ info, wanted }) => [
      kit.srcset(info), kit.srcset(info, { format: "avif" }, "https://img.example.org"),
      kit.sizes(wanted), kit.sizes("10rem")];"""
    wanted = {"(max-width: 40rem)": "100vw", "(max-width: 60rem)": "50vw", "": "30rem"}
    ours = kit(script, {"info": info, "wanted": wanted})
    assert ours == [
        srcset(info),
        srcset(info, "https://img.example.org", format="avif"),
        sizes(wanted),
        sizes("10rem"),
    ]
    assert ours[0] == info["srcset"]
    assert ours[2] == "(max-width: 40rem) 100vw, (max-width: 60rem) 50vw, 30rem"
    for candidate in ours[0].split(", "):
        url, width = candidate.split(" ")
        with Image.open(BytesIO(service.client.get(url).content)) as image:
            assert f"{image.width}w" == width


@pytest.mark.parametrize("size", [(120, 80), (80, 120), (90, 90), (200, 20)])
@pytest.mark.parametrize("transparent", [False, True])
def test_placeholders_are_the_same_and_look_like_the_picture(
    kit: Run, size: tuple[int, int], transparent: bool
) -> None:
    picture = Image.fromarray(np.asarray(photo(*size, seed=3)))
    alpha = Image.linear_gradient("L").resize(size) if transparent else None
    text = thumbhash(picture, alpha)
    ours, theirs = (_pixels(url) for url in (kit("const answer = kit.placeholder;", text), placeholder(text)))
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # the cosines of two languages
    assert max(ours.shape[:2]) == 32
    assert (ours[..., 3].min() < 128) == transparent
    if not transparent:
        height, width = ours.shape[:2]
        small = np.asarray(picture.resize((width, height), Image.Resampling.BOX)).astype(float)
        assert np.abs(small - ours[..., :3]).mean() < 30


@pytest.mark.parametrize("text", ["", "!", "AA==", "//////8=", "1QcSHQRnh493V4dIh4eXh1h4kA"])
def test_what_is_no_thumbhash_gives_no_placeholder(kit: Run, text: str) -> None:
    assert kit("const answer = kit.placeholder;", text) == ""
    assert placeholder(text) == ""


def test_an_upload_that_was_cancelled_before_it_began_is_not_sent(kit: Run) -> None:
    """In a browser, which alone has XMLHttpRequest."""
    script = """
    let sent = 0;
    globalThis.XMLHttpRequest = class {
      upload = {};
      status = 201;
      responseText = "{}";
      open() {}
      setRequestHeader() {}
      getResponseHeader() { return null; }
      send() { sent += 1; setTimeout(() => this.onload()); }
    };
    const outcome = (signal) => kit.upload("picture", { signal }).then(() => "stored", (error) => error.name);
    const answer = async () => [
      await outcome(AbortSignal.abort()), sent, await outcome(new AbortController().signal), sent];"""
    assert kit(script) == ["AbortError", 0, "stored", 1]


def test_the_types_name_what_the_kit_exports(kit: Run) -> None:
    exported = set(kit("const answer = () => Object.keys(kit);"))
    declared = (KIT / "compass.d.ts").read_text()
    words = declared.replace("(", " ").replace("<", " ").split()
    named = {
        words[k + 2]
        for k, word in enumerate(words)
        if word == "export" and words[k + 1] in ("function", "class")
    }
    assert named == exported


def test_the_package_has_all_that_it_names() -> None:
    package = json.loads((KIT / "package.json").read_text())
    named = [
        path
        for one in package["exports"].values()
        for path in ([one] if isinstance(one, str) else one.values())
    ]
    assert all((KIT / path).is_file() for path in named)
    assert all((KIT / path).exists() for path in package["files"])


def _pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(b64decode(url.removeprefix("data:image/png;base64,")))))
