"""The page's gallery: its search reads on to the end or to a failure, and it deletes what is ticked."""

from typing import Any

import pytest

from tests.page.browser import DOCUMENT
from tests.page.conftest import Run

SERVICE = """
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
"""A service that answers as ``answers`` tells."""

SEARCH = """
const answer = async (given) => {
  const expected = given.length;
  answers = given;
  new page.Gallery({ onOpen() {}, onGone() {}, onKeyNeeded: async () => false });
  Object.assign(find("search"), { value: "sunset" }).tell("input");
  while (requests < expected) await rest(10);
  await rest(100); // for what must not come
  const problem = find("gallery-problem");
  return [requests, problem.hidden ? null : problem.textContent, find("more-button").hidden];
};
"""
MORE = [200, {"images": [], "next": "further"}]


@pytest.mark.parametrize("status", [503, 429, 401, 0])
def test_a_search_that_fails_stops_until_it_is_asked_for_more(page: Run, status: int) -> None:
    failure: list[Any] = [status, {"title": "Not now"}]
    title = "Not now" if status else "The service cannot be reached"
    assert page("gallery.js", DOCUMENT + SERVICE, SEARCH, [MORE, MORE, failure]) == [3, title, False]


def test_a_search_reads_on_to_the_end(page: Run) -> None:
    end = [200, {"images": [], "next": None}]
    assert page("gallery.js", DOCUMENT + SERVICE, SEARCH, [MORE, MORE, MORE, end]) == [4, None, True]


TWO = """
const deleted = [];
globalThis.fetch = async (url, { method = "GET" } = {}) => {
  if (method === "DELETE") deleted.push(url.at(-1));
  return json(200, { images: [infoOf("a"), infoOf("b")], next: null });
};
"""
CHOOSE = """
const gallery = new page.Gallery({ onOpen() {}, onGone() {}, onKeyNeeded: async () => false });
await gallery.load();
const boxes = () => find("grid").querySelectorAll(".choose");
const asking = () => (find("delete-chosen").hidden ? null : find("delete-chosen").textContent);
find("select").click();
boxes()[0].click();
"""


def test_a_renamed_picture_stays_ticked(page: Run) -> None:
    script = """
    const answer = async () => {
      gallery.rename(infoOf("a", { name: "renamed" }));
      const ticked = boxes().map((box) => box.checked);
      find("select").click();
      return [ticked, asking(), boxes().map((box) => box.checked)];
    };"""
    assert page("gallery.js", DOCUMENT + TWO, CHOOSE + script) == [[True, False], None, [False, False]]


def test_only_what_is_ticked_is_deleted(page: Run) -> None:
    script = """
    const answer = async () => {
      gallery.rename(infoOf("a", { name: "renamed" }));
      find("select").click();
      find("select").click();
      boxes()[1].click();
      find("delete-chosen").click();
      await rest(50);
      return [deleted, asking()];
    };"""
    assert page("gallery.js", DOCUMENT + TWO, CHOOSE + script) == [["b"], None]


@pytest.mark.parametrize(
    "gone", ['gallery.remove("a")', 'Object.assign(find("search"), { value: "x" }).tell("input")']
)
def test_nobody_is_asked_to_delete_what_is_gone(page: Run, gone: str) -> None:
    script = f"""
    const answer = async () => {{
      const before = asking();
      {gone};
      await rest(400);
      return [before, asking()];
    }};"""
    assert page("gallery.js", DOCUMENT + TWO, CHOOSE + script) == ["Delete 1", None]
