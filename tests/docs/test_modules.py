"""docs/modules.md is what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_modules_is_that_of_the_code():
    printed = subprocess.run(
        [sys.executable, ROOT / "docs/modules.py"], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs/modules.md").read_text() == printed, "run make docs"
