"""Measurements kept between runs: coding is slow and its result does not change."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

Measurement = list[list[float]]
"""One (bytes, PSNR) pair per layer, bytes counted from the stream's start."""


class Cache:
    """Measurements by key, appended to a file of JSON lines; what a kill tore off is measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Measurement] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for line in path.read_text().splitlines():
            try:
                key, value = json.loads(line)
            except ValueError:
                continue
            self._known[key] = value

    def get(self, key: str, measure: Callable[[], Measurement]) -> Measurement:
        """What is known under ``key``, else what ``measure()`` returns, kept from now on."""
        if key not in self._known:
            self._known[key] = measure()
            with self._path.open("a") as file:
                file.write("\n" + json.dumps([key, self._known[key]]))
        return self._known[key]


def code_digest(folder: Path, without: str) -> str:
    """Changes with any ``*.py`` below a folder, except those below its subfolder ``without``.

    It belongs into the key of a measurement: what was measured with other code is measured anew.
    """
    digest = sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder)
        if name.parts[0] != without:
            digest.update(str(name).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
