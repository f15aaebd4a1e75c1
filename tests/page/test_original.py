"""The page's comparison with an original shows what was chosen last, and goes on after a failure."""

from tests.page.browser import DOCUMENT
from tests.page.conftest import Run

COMPARISON = """
const asked = [];
const waiting = {}; // answers by format that the test gives later
globalThis.fetch = async (url) => {
  const { format } = Object.fromEntries(new URLSearchParams(url.split("?")[1]));
  asked.push(format);
  return (await waiting[format]) ?? new Response(new Blob([format]));
};
const contents = new Map();
URL.createObjectURL = (blob) => {
  contents.set(`blob:${contents.size}`, blob);
  return [...contents.keys()].at(-1);
};
const later = () => {
  let give;
  return [new Promise((resolve) => { give = resolve; }), (...given) => give(...given)];
};
const sizes = { width: 4, height: 4 };
const file = (text) => new Blob([text], { type: "image/png" });
const shown = async (letter) => contents.get(find(`original-${letter}`).src)?.text() ?? null;
const problem = () => (find("original-problem").hidden ? null : find("original-problem").textContent);
const choose = async (side, value) => {
  Object.assign(find(`original-${side}`), { value }).tell("change");
  await rest(50);
};
find("original-problem").hidden = true;
find("original-left").value = "original";
find("original-right").value = "stored";
find("original-zoom").value = "0";
const comparison = new page.OriginalComparison();
"""
"""``later()``: a promise and the function that fulfils it."""


def test_a_failure_leaves_the_original(page: Run) -> None:
    script = """
    const answer = async () => {
      waiting.png = json(429, { title: "Busy" });
      comparison.open(infoOf("a", sizes), file("original of a"));
      await rest(50);
      const failed = problem();
      delete waiting.png;
      await choose("right", "stored");
      return [failed, problem(), asked, await shown("a"), await shown("b")];
    };"""
    assert page("original.js", DOCUMENT, COMPARISON + script) == [
        "Busy",
        None,
        ["png", "png"],
        "original of a",
        "png",
    ]


def test_a_side_that_comes_late_takes_nothing_s_place(page: Run) -> None:
    script = """
    const answer = async () => {
      comparison.open(infoOf("a", sizes), file("original of a"));
      await rest(50);
      const [slow, give] = later();
      waiting.avif = slow;
      await choose("right", "avif");
      await choose("right", "stored");
      give();
      await rest(100);
      return [await shown("b"), find("original-busy").textContent, problem()];
    };"""
    assert page("original.js", DOCUMENT, COMPARISON + script) == ["png", "", None]


def test_a_late_failure_of_a_side_is_not_told_of_the_next(page: Run) -> None:
    script = """
    const answer = async () => {
      const [slow, give] = later();
      waiting.png = slow;
      comparison.open(infoOf("a", sizes), file("original of a"));
      await rest(50);
      delete waiting.png;
      comparison.open(infoOf("b", sizes), file("original of b"));
      await rest(50);
      give(json(503, { title: "Of a" }));
      await rest(50);
      return [problem(), await shown("a"), await shown("b")];
    };"""
    assert page("original.js", DOCUMENT, COMPARISON + script) == [None, "original of b", "png"]


def test_a_late_failure_of_a_file_is_not_told_of_the_next(page: Run) -> None:
    script = """
    const answer = async () => {
      const [slow, give] = later();
      const read = createImageBitmap;
      globalThis.createImageBitmap = async () => { await slow; throw new Error("no picture"); };
      comparison.open(infoOf("a", sizes), file("no picture"));
      globalThis.createImageBitmap = read;
      comparison.open(infoOf("b", sizes), file("original of b"));
      await rest(50);
      give();
      await rest(50);
      return [problem(), await shown("a")];
    };"""
    assert page("original.js", DOCUMENT, COMPARISON + script) == [None, "original of b"]
