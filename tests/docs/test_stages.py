"""The stages of the work have the names that the documentation gives them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from service.routes.answers import STAGES
from tests.service.running import ROOT

OF_AN_UPLOAD = {"queue", "open", "code", "graphics", "extras", "store"}


def clocked(folder: Path) -> Iterator[str]:
    """Every name that the code below a folder gives to a stage of a clock."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "stage":
                name = node.args[0]
                assert isinstance(name, ast.Constant), path
                yield str(name.value)


def named(page: str, start: str) -> set[str]:
    """The words in backquotes of the sentence of a page that begins so."""
    text = " ".join((ROOT / "docs" / page).read_text().split())
    sentence = re.search(rf"{re.escape(start)}(.*?\.)(?: |$)", text)
    assert sentence, start
    return set(re.findall(r"`(\w+)`", sentence[1]))


def test_stages_of_the_codec() -> None:
    assert named("architecture.md", "its stages are") == set(clocked(ROOT / "model"))


def test_stages_of_a_picture_and_of_an_upload() -> None:
    assert named("metrics.md", "Stages of a picture:") == set(STAGES)
    assert named("metrics.md", "Stages of an upload:") == OF_AN_UPLOAD
    assert set(clocked(ROOT / "service")) <= set(STAGES) | OF_AN_UPLOAD
