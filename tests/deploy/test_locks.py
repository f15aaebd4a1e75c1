"""The locked versions agree, so that a cluster and what tests it can be installed together."""

import re
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))


def pins(name: str) -> dict[str, str]:
    """The version of every package in a lock."""
    text = (ROOT / name).read_text()
    return {found[1]: found[2] for found in re.finditer(r"^([\w.\-\[\]]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize(("one", "other"), combinations(LOCKS, 2))
def test_locks_agree(one: str, other: str) -> None:
    """Until 2026-11-28 the cluster's lock had a later python-dateutil than `constraints.txt` allows."""
    first, second = pins(one), pins(other)
    shared = first.keys() & second.keys()
    assert len(shared) > 20
    assert {name: (first[name], second[name]) for name in shared if first[name] != second[name]} == {}
