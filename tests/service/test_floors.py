"""The folders import one way: the contracts hold, and a wrong import breaks the right one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FLOORS = "service: each floor"
HTTP_PROCESS = "service: no torch"
WRONG_IMPORTS = [
    ("service/planning/sizing.py", "import service.storage.store", FLOORS),
    ("service/messages/jobs.py", "import service.engine.pool", FLOORS),
    ("service/library.py", "import service.worker.imagefile", FLOORS),
    ("service/engine/dispatch.py", "import model.codec.codec", HTTP_PROCESS),
    ("service/web/problems.py", "import torch", HTTP_PROCESS),
    ("service/engine/cluster.py", "import ray", "service: nothing but the cluster"),
    ("service/worker/tasks.py", "import service.cluster.replica", FLOORS),
    ("service/client/api.py", "import service.errors", "service: the client"),
    ("service/new_floor.py", "", FLOORS),
    ("model/errors.py", "import model.codec.codec", "model: training above"),
    ("benchmarks/measure/report.py", "import benchmarks.load.serve", "benchmarks: quality, speed and load"),
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
    lines = " ".join(found.stdout.split())  # long names are wrapped
    assert re.search(f"{re.escape(contract)}[^:]* BROKEN", lines), found.stdout
