"""The folders import one way: the contracts hold, and a wrong import breaks the right one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WRONG_IMPORTS = [
    ("service/planning/sizing.py", "import service.storage.store", "The floors of the service"),
    ("service/messages/jobs.py", "import service.engine.pool", "The floors of the service"),
    ("service/library.py", "import service.worker.imagefile", "The floors of the service"),
    ("service/engine/dispatch.py", "import model.codec.codec", "The HTTP process decodes nothing"),
    ("service/web/problems.py", "import torch", "The HTTP process decodes nothing"),
    ("service/client/api.py", "import service.errors", "The client needs nothing of the service"),
    ("service/new_floor.py", "", "The floors of the service"),
    ("model/errors.py", "import model.codec.codec", "The floors of the model"),
    ("benchmarks/measure/report.py", "import benchmarks.load.serve", "The floors of the benchmarks"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make lint` runs, on the packages in that folder."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_hold() -> None:
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(("file", "line", "contract"), WRONG_IMPORTS)
def test_a_wrong_import_breaks_its_contract(tmp_path: Path, file: str, line: str, contract: str) -> None:
    for package in ("service", "model", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__", "weights", "static")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{line}\n")
    found = lint_imports(tmp_path)
    assert found.returncode == 1
    broken = [text for text in found.stdout.splitlines() if "BROKEN" in text]
    assert any(text.startswith(contract) for text in broken), found.stdout
