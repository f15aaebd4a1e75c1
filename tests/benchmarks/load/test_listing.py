"""The benchmark of the listing: pages that are complete and in order, of entries that were moved as well."""

import json
from pathlib import Path

import pytest

from benchmarks.load.listing import main


@pytest.mark.parametrize("old", [[], ["--old"]])
def test_pages_are_measured(old: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--entries", "2000", "--pages", "3", "--limits", "50", "--out", str(tmp_path), *old])
    (figures,) = json.loads((tmp_path / "listing.json").read_text())["listing"]
    assert [row[0] for row in figures["pages"]] == ["newest", "anywhere", "oldest"]
    assert all(0 < row[2] <= row[3] <= row[4] for row in figures["pages"])
    assert figures["bytes"] > 2000 * 47
    assert (figures["moved"] is None) == (not old)
    assert "slowest, ms" in capsys.readouterr().out
