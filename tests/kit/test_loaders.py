"""The kit's loaders, called by the frameworks themselves: Next.js, Nuxt Image and Astro, from npm."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.kit.conftest import KIT, node
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

pytestmark = [pytest.mark.npm, pytest.mark.slow, pytest.mark.timeout(900)]

BASE = "https://img.example.org"
ID = "abcdefghijklmnopqrstuvwxyz234567"
LOADERS = sorted(path.name for path in (KIT / "loaders").glob("*.js"))


@pytest.fixture(scope="module")
def stored(service: RunningService) -> dict[str, Any]:
    """A picture that every URL of a loader is asked of."""
    return service.upload(encoded(photo(300, 200, seed=8), "PNG"), widths="100,200")


def candidates(text: str) -> Iterator[tuple[str, str]]:
    """The URLs of a srcset and their descriptors."""
    for candidate in text.split(", "):
        url, _, descriptor = candidate.partition(" ")
        yield url, descriptor


def test_next_js_builds_its_srcset_with_the_loader(
    site: Path, service: RunningService, stored: dict[str, Any]
) -> None:
    script = """
import { createRequire } from "node:module";
import loader from "compass-images-kit/next";
const { getImageProps } = createRequire(process.cwd() + "/")("next/image");
const asked = { alt: "", width: 100, height: 67, quality: 60, loader };
const answer = ({ src }) => getImageProps({ src, ...asked }).props;
"""
    props = node(script, {"src": f"{service.url}{stored['url']}"}, site)
    found = {descriptor: url for url, descriptor in candidates(props["srcSet"])}
    assert found["1x"].startswith(f"{service.url}/images/{stored['id']}?width=")
    assert found["1x"].endswith("&q=60")
    assert all(service.client.get(url).status_code == 200 for url in found.values())


def test_nuxt_image_builds_its_sizes_with_the_provider(
    site: Path, service: RunningService, stored: dict[str, Any]
) -> None:
    script = """
import { createImage } from "./node_modules/@nuxt/image/dist/runtime/image.js";
import setup from "compass-images-kit/nuxt";
const answer = ({ baseURL, src }) => {
  const img = createImage({
    provider: "compass", providers: { compass: { setup, defaults: { baseURL } } },
    presets: {}, alias: {}, domains: [],
    densities: [1, 2], screens: { md: 768 }, modifiers: {},
  });
  return [
    img(src, { width: 100, height: 100, fit: "cover", format: "webp", quality: 70 }),
    img.getSizes(src, { sizes: "100px md:50px", modifiers: { fit: "inside" } }).srcset,
  ];
};
"""
    url, srcset = node(script, {"baseURL": service.url, "src": stored["id"]}, site)
    assert url == f"{service.url}/images/{stored['id']}?width=100&height=100&fit=cover&format=webp&q=70"
    assert service.client.get(url).headers["Content-Type"] == "image/webp"
    widths = {descriptor for _, descriptor in candidates(srcset)}
    assert {"50w", "100w", "200w"} <= widths
    assert all(service.client.get(one).status_code == 200 for one, _ in candidates(srcset))


def test_astro_builds_its_srcset_with_the_service(
    site: Path, service: RunningService, stored: dict[str, Any]
) -> None:
    # Astro's own entry point imports Vite's virtual modules: outside of a build its service stands for it.
    script = """
import { register } from "node:module";
const astro = new URL("node_modules/astro/dist/assets/", `file://${process.cwd()}/`).href;
const hook = `export const resolve = (name, context, next) =>
  next(name === "astro/assets" ? "${astro}services/service.js" : name, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
const { default: imageService } = await import("compass-images-kit/astro");
const { getImage } = await import(`${astro}internal.js`);
globalThis.astroAsset = { imageService };
const answer = async ({ src, host }) => {
  const image = { remotePatterns: [], domains: [host] };
  const { src: url, srcSet, attributes } = await getImage(
    { src, alt: "A photo", width: 200, height: 100, fit: "cover", quality: 60, widths: [100, 200] }, image);
  return { url, srcset: srcSet.attribute, attributes };
};
"""
    found = node(script, {"src": f"{service.url}{stored['url']}", "host": "127.0.0.1"}, site)
    assert found["url"] == f"{service.url}/images/{stored['id']}?width=200&height=100&fit=cover&q=60"
    assert [descriptor for _, descriptor in candidates(found["srcset"])] == ["100w", "200w"]
    assert all(service.client.get(url).status_code == 200 for url, _ in candidates(found["srcset"]))
    assert found["attributes"]["alt"] == "A photo"


def test_a_plain_picture_names_each_format(site: Path, stored: dict[str, Any]) -> None:
    script = """
import { pictureOf } from "compass-images-kit/picture";
const answer = (info) => pictureOf(info, 'A "red" boat & <sea>', "(max-width: 40rem) 100vw, 40rem", "https://img.example.org");
"""
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Reader().feed(node(script, stored, site))
    assert [tag for tag, _ in tags] == ["picture", "source", "source", "img"]
    assert [attributes["type"] for _, attributes in tags[1:3]] == ["image/avif", "image/webp"]
    assert tags[3][1]["alt"] == 'A "red" boat & <sea>'
    for _, attributes in tags[1:3]:
        urls = list(candidates(attributes["srcset"] or ""))
        assert [descriptor for _, descriptor in urls] == ["100w", "200w", "300w"]
        assert all(url.startswith(f"{BASE}/images/{stored['id']}?format=") for url, _ in urls)


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_are_short(name: str) -> None:
    code = re.sub(r"^\s*(//.*)?\n", "", (KIT / "loaders" / name).read_text(), flags=re.MULTILINE)
    assert 3 <= len(code.splitlines()) <= 10
