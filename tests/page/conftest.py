"""Node runs modules of the page."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.conftest import node
from tests.service.running import ROOT

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs ``answer`` with everything that a module of the page exports in ``page``, after a ``setting``:
    what the module finds in a browser.
    """
    folder = tmp_path_factory.mktemp("page") / "static"
    shutil.copytree(ROOT / "service" / "static", folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(module: str, setting: str, script: str, given: Any = None) -> Any:
        url = json.dumps((folder / module).as_uri())
        return node(f"{setting}\nconst page = await import({url});\n{script}", given, Path(folder))

    return run
