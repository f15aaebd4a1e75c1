"""The page's gallery reads on while a search has found nothing, and stops where the service fails."""

from typing import Any

import pytest

from tests.page.conftest import Run

BROWSER = """
const heard = {};
const element = (id) => ({
  addEventListener: (name, listener) => { heard[`${id} ${name}`] = listener; },
  classList: { toggle() {}, contains: () => false },
  style: {}, dataset: {}, firstChild: { setAttribute() {} },
  append() {}, replaceChildren() {}, scrollIntoView() {}, setAttribute() {},
});
const elements = {};
globalThis.document = {
  body: element("body"),
  createElement: element,
  getElementById: (id) => (elements[id] ??= element(id)),
};
globalThis.IntersectionObserver = class { observe() {} unobserve() {} };
globalThis.sessionStorage = { getItem: () => null, setItem() {} };

let requests = 0;
let answers = [];
globalThis.fetch = async () => {
  requests += 1;
  await new Promise((resolve) => { if (requests < 50) setTimeout(resolve, 1); }); // so that node ends
  const [status, facts] = answers.length > 1 ? answers.shift() : answers[0];
  if (!status) throw new TypeError("no network");
  return new Response(JSON.stringify(facts), { status });
};
"""
"""What the gallery touches of a document, and a service that answers as ``answers`` tells."""

SEARCH = """
const answer = async (given) => {
  answers = given;
  new page.Gallery({ onOpen() {}, onGone() {}, onKeyNeeded: async () => false });
  heard["search input"]({ target: { value: "sunset" } });
  await new Promise((resolve) => setTimeout(resolve, 600)); // 250 of them until the search begins
  const { "gallery-problem": problem, "more-button": more } = elements;
  return [requests, problem.hidden ? null : problem.textContent, more.hidden];
};
"""
MORE = [200, {"images": [], "next": "further"}]


@pytest.mark.parametrize("status", [503, 429, 401, 0])
def test_a_search_that_fails_stops_until_it_is_asked_for_more(page: Run, status: int) -> None:
    failure: list[Any] = [status, {"title": "Not now"}]
    title = "Not now" if status else "The service cannot be reached"
    assert page("gallery.js", BROWSER, SEARCH, [MORE, MORE, failure]) == [3, title, False]


def test_a_search_reads_on_to_the_end(page: Run) -> None:
    end = [200, {"images": [], "next": None}]
    assert page("gallery.js", BROWSER, SEARCH, [MORE, MORE, MORE, end]) == [4, None, True]
