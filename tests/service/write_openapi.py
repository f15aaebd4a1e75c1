"""Freeze the service's OpenAPI document: ``make openapi``, or ``python -m tests.service.write_openapi``.

Done when the HTTP API is meant to change; the difference is then part of the change.
"""

import json
from pathlib import Path
from typing import Any

from service.app import create_app
from service.settings import Settings

FROZEN = Path(__file__).with_name("openapi.json")


def document() -> dict[str, Any]:
    """The document as it is now, but for the version of the package."""
    found: dict[str, Any] = create_app(Settings()).openapi()
    found["info"]["version"] = ""
    return found


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(document(), indent=1, sort_keys=True) + "\n")
