"""Node runs the kit; npm fetches the frameworks that its loaders are for."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import ROOT

KIT = ROOT / "service" / "static" / "kit"
FRAMEWORKS = ("next@16", "react@19", "react-dom@19", "@nuxt/image@2", "astro@6")

Run = Callable[..., Any]


def node(script: str, given: Any, folder: Path) -> Any:
    """What a module makes of ``given``: its last expression is the function ``answer``, run in ``folder``."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed (Debian: nodejs)")
    code = f"""{script}
let text = "";
for await (const chunk of process.stdin) text += chunk;
console.log(JSON.stringify(await answer(JSON.parse(text))));
"""
    done = subprocess.run(
        [program, "--input-type=module", "-e", code],
        input=json.dumps(given),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def kit() -> Run:
    """Runs ``answer`` with everything that the kit exports in ``kit``."""

    def run(script: str, given: Any = None) -> Any:
        return node(
            f"import * as kit from {json.dumps((KIT / 'compass.js').as_uri())};\n{script}", given, ROOT
        )

    return run


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Path:
    """A folder with the frameworks, and the kit as it comes from npm, in it; kept in pytest's cache."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed (Debian: npm)")
    folder = Path(request.config.cache.mkdir("npm-frameworks"))
    (folder / "package.json").write_text('{"private": true}')
    if not all((folder / "node_modules" / name.rpartition("@")[0]).is_dir() for name in FRAMEWORKS):
        _npm(npm, folder, "install", "--no-save", "--omit=optional", *FRAMEWORKS)
    for packed in folder.glob("*.tgz"):
        packed.unlink()
    _npm(npm, folder, "pack", str(KIT))
    shutil.rmtree(folder / "node_modules" / "compass-images-kit", ignore_errors=True)
    (archive,) = folder.glob("compass-images-kit-*.tgz")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    (folder / "unpacked" / "package").rename(folder / "node_modules" / "compass-images-kit")
    return folder


def _npm(npm: str, folder: Path, *command: str) -> None:
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    done = subprocess.run(
        [npm, *command, *quiet], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        pytest.skip(f"npm {command[0]} does not work here: {done.stderr.strip()[-300:]}")
