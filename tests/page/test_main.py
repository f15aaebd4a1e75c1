"""The open picture stands in the address: what comes late of another one changes nothing."""

import pytest

from tests.page.browser import DOCUMENT
from tests.page.conftest import Run

SERVICE = """
let fail;
const failed = new Promise((resolve) => { fail = resolve; });
let asked = 0;
globalThis.fetch = async (url) => {
  if (url.startsWith("/images?")) return json(200, { images: [], next: null });
  if (url === "/images/a/info") {
    asked += 1;
    return failed;
  }
  if (url === "/images/b/info") return json(200, infoOf("b"));
  return new Response(new Blob(["rendering"]), { headers: { "Compass-Layer": "0" } });
};
const go = async (id) => {
  location.hash = id && `#${id}`;
  windowHeard.hashchange();
  await rest(50);
};
for (const value of ["one", "compare"]) {
  find("viewer").append(Object.assign(new Node("input"), { name: "mode", value }));
}
find("viewer").children[0].checked = true;
find("gallery-problem").hidden = true;
find("key-dialog").showModal = function () { this.asked = true; };
"""
OPEN = """
const shown = () => (find("viewer").hidden ? null : find("viewer-title").textContent);
const answer = async ([status, next]) => {
  await go("a");
  if (next !== null) await go(next);
  fail(json(status, { title: "Of a" }));
  await rest(50);
  const problem = find("gallery-problem");
  return [asked, shown(), problem.hidden ? null : problem.textContent, find("key-dialog").asked ?? false];
};
"""


@pytest.mark.parametrize("status", [500, 401])
def test_a_late_failure_of_a_picture_does_not_close_the_next(page: Run, status: int) -> None:
    assert page("main.js", DOCUMENT + SERVICE, OPEN, [status, "b"]) == [1, "b", None, False]


def test_a_late_failure_of_a_picture_is_not_told_after_it_was_left(page: Run) -> None:
    assert page("main.js", DOCUMENT + SERVICE, OPEN, [500, ""]) == [1, None, None, False]


def test_a_picture_that_cannot_be_opened_says_why(page: Run) -> None:
    assert page("main.js", DOCUMENT + SERVICE, OPEN, [500, None]) == [1, None, "Of a", False]
