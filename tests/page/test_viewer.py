"""The page's viewer shows what was asked for last, however long the browser takes to read each rendering."""

from typing import Any

import pytest

from tests.page.browser import DOCUMENT
from tests.page.conftest import Run

SERVICE = """
const radio = (value, checked) => Object.assign(new Node("input"), { name: "mode", value, checked });
find("viewer").append(radio("one", true), radio("compare", false));
globalThis.fetch = async (url) => {
  const width = Number(/width=([0-9]+)/.exec(url)[1]);
  return new Response(new Blob(["x".repeat(width)]), { headers: { "Compass-Layer": "0" } });
};
const live = new Set();
let made = 0;
URL.createObjectURL = ({ size }) => {
  live.add(`blob:${size}:${++made}`);
  return [...live].at(-1);
};
URL.revokeObjectURL = (url) => live.delete(url);
Node.prototype.decode = function () { return rest(Number(this.src.split(":")[1]) >= 900 ? 100 : 1); };
"""
"""A rendering has as many bytes as it is wide, and from 900 on the browser takes its time to read it."""

LOOK = """
const viewer = new page.Viewer({ onClose() {}, onKeyNeeded: async () => false });
const shown = (id) => find(id).src.split(":")[1] ?? null;
const seen = async () => {
  await rest(300);
  return [shown("picture-left"), shown("picture"), find("answer").textContent.split(" ")[0], live.size];
};
viewer.open(infoOf("a")); // as wide as the stage: 100
await rest(50);
"""


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ("viewer.show(1000); await rest(50); viewer.show(200);", [None, "200", "200", 1]),
        ("viewer.show(1000); await rest(50); viewer.close();", [None, None, "100", 0]),
        (
            'viewer.show(1000); await rest(50); viewer.open(infoOf("b", { width: 50 }));',
            [None, "50", "50", 1],
        ),
        (
            """find("viewer").children[1].checked = true;
            Object.assign(find("left-width"), { value: "900" });
            Object.assign(find("right-width"), { value: "1000" }).tell("change");
            await rest(50);
            find("left-width").value = "300";
            Object.assign(find("right-width"), { value: "200" }).tell("change");""",
            ["300", "200", "200", 2],
        ),
        (
            """Object.assign(find("left-width"), { value: "300" });
            Object.assign(find("right-width"), { value: "1000" }).tell("change");
            await rest(50);
            viewer.close();""",
            [None, None, "100", 0],
        ),
    ],
)
def test_a_rendering_that_comes_late_takes_nothing_s_place(page: Run, done: str, expected: list[Any]) -> None:
    script = f"const answer = async () => {{ {done} return seen(); }};"
    assert page("viewer.js", DOCUMENT + SERVICE, LOOK + script) == expected
