"""Parts of packages, in processes of their own since imports cannot be undone."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, folder: Path | None = None) -> str:
    """What a fresh Python prints."""
    path = "" if folder is None else f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose ``__init__`` says that it runs, with a submodule that works and one that does not."""
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy/__init__.py").write_text("print('heavy')")
    (tmp_path / "heavy/part.py").write_text("from heavy import number\nvalue = number + 1")
    (tmp_path / "heavy/needy.py").write_text("from heavy import missing")
    return tmp_path


LOAD = "from service.light_import import import_parts\n"


def test_a_part_is_imported_without_the_package(package: Path) -> None:
    code = (
        LOAD
        + "import_parts('heavy', ['heavy.part'], {'number': 41})\nimport heavy.part\nprint(heavy.part.value)"
    )
    assert run(code, package) == "42"


def test_what_does_not_work_is_left_to_an_ordinary_import(package: Path) -> None:
    code = LOAD + "import_parts('heavy', ['heavy.part', 'heavy.needy'], {'number': 1})\nimport heavy"
    assert run(code, package) == "heavy"


def test_a_package_that_is_loaded_or_missing_is_left_alone(package: Path) -> None:
    code = LOAD + "import heavy\nimport_parts('heavy', ['heavy.needy'], {})\nimport_parts('nowhere', [], {})"
    assert run(code, package) == "heavy"


@pytest.mark.slow
def test_the_codec_works_with_parts_of_compressai_alone() -> None:
    code = """
import sys
from service.settings import Settings
from service.worker_tasks import Tasks
Tasks(Settings(device="cpu")).warm_up()
print("compressai.layers" in sys.modules, "torchvision" in sys.modules, "compressai.zoo" in sys.modules)
"""
    assert run(code) == "True False False"
