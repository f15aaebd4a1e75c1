"""The pages' measured tables are those of docs/figures/."""

import runpy
from pathlib import Path

import pytest

from model.installed import FOLDER, model_id

ROOT = Path(__file__).parents[2]
FIGURES = runpy.run_path(str(ROOT / "docs/figures.py"))


@pytest.mark.parametrize("page", FIGURES["PAGES"])
def test_tables_are_those_that_were_measured(page):
    text = (ROOT / page).read_text()
    assert len(FIGURES["BLOCK"].findall(text)) == text.count("<!-- figures: ") > 0
    assert text == FIGURES["filled"](text), "make docs"


@pytest.mark.parametrize("profile", ["lite", "large"])
def test_they_were_measured_with_the_weights_that_are_here(profile):
    assert FIGURES["measured"](profile)["model"] == model_id(FOLDER / f"{profile}.safetensors").hex()


def test_a_table_that_was_changed_by_hand_is_found():
    page = "before\n<!-- figures: rates lite -->\n| a |\n<!-- end of figures -->\nafter\n"
    filled = FIGURES["filled"](page)
    assert "| a |" not in filled
    assert "| bits per pixel |" in filled
    assert (filled.startswith("before\n"), filled.endswith("-->\nafter\n")) == (True, True)
