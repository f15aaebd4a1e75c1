"""The client alone: what it imports, and its own small distribution, built and installed for real."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.service.running import ROOT, RunningService
from tests.service.samples import encoded, photo

CLIENT = ROOT / "service" / "client"
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text())
SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text())

WITHOUT_THE_SERVER = """
import importlib, sys

for name in ("torch", "numpy", "PIL", "redis", "fastapi", "pydantic", "numba", "model"):
    sys.modules[name] = None  # importing it raises ImportError
for name in ("api", "folder", "command"):
    importlib.import_module(f"service.client.{name}")
loaded = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(*sorted(name for name in loaded if getattr(sys.modules[name], "__file__", None)))
"""
UNREACHABLE = ("error sending request", "network was disabled", "dns error")
"""What uv says where there is no network."""


def uv() -> str:
    """The installer; it stands beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed: the client's distribution cannot be built")
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new, otherwise empty environment that the client was installed into."""
    folder = tmp_path_factory.mktemp("client")
    environment = folder / "venv"
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    command = [uv(), "pip", "install", "--quiet", "--python", str(python), str(CLIENT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode and any(sign in result.stderr for sign in UNREACHABLE):
        pytest.skip(f"no package index can be reached: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stderr
    return environment / "bin"


def run(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of the new environment; the checkout is on no path of it."""
    left_out = ("PYTHONPATH", "COMPASS_API_KEY")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_client_imports_nothing_of_the_server() -> None:
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_SERVER], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"service", "tqdm", "urllib3"} <= set(found.stdout.split())


def test_its_distribution_names_every_module_and_the_servers_version() -> None:
    files = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    named = {name for name in files if not name.startswith("..")}
    assert named == {path.name for path in CLIENT.glob("*.py")}
    assert PROJECT["project"]["version"] == SERVER["project"]["version"]
    assert set(PROJECT["project"]["dependencies"]) <= set(SERVER["project"]["dependencies"])


@pytest.mark.slow
def test_it_installs_alone_and_works(installed: Path, service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(60, 40, seed=61), "PNG"))
    names = {path.name.partition("-")[0] for path in installed.parent.glob("lib/*/site-packages/*.dist-info")}
    assert names == {"compass_images_client", "tqdm", "urllib3"}
    imported = run(installed / "compass-import", tmp_path, "--url", service.url, folder=tmp_path)
    assert imported.returncode == 0, imported.stderr
    assert "1 pictures stored" in imported.stdout
    picture = json.loads((tmp_path / "compass-import.jsonl").read_text())["id"]
    code = (
        "from service.client.api import Client\n"
        f"with Client({service.url!r}) as client: print(client.info({picture!r}).width)"
    )
    asked = run(installed / "python", "-c", code, folder=tmp_path)
    assert (asked.returncode, asked.stdout) == (0, "60\n"), asked.stderr
