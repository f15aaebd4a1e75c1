"""Scripts of npm packages, fetched once and kept in pytest's cache."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest


def script_of(config: pytest.Config, package: str, version: str, script: str) -> bytes:
    """A file of a package; the test is skipped where it was never fetched and cannot be now."""
    cache = Path(config.cache.mkdir("npm"))
    archive = cache / f"{package}-{version}.tgz"
    if not archive.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"npm is not installed (Debian: npm), and {package} not in pytest's cache")
        command = [npm, "pack", f"{package}@{version}", "--pack-destination", str(cache)]
        packed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if packed.returncode:
            pytest.skip(f"npm cannot fetch {package}: {packed.stderr.strip()[-500:]}")
    with tarfile.open(archive) as files:
        found = files.extractfile(f"package/{script}")
        assert found is not None
        return found.read()
