"""The table of statuses in docs/api.md says what the OpenAPI document says, no more and no less."""

import re

from tests.service.running import ROOT
from tests.service.write_openapi import document

_ROW = re.compile(r"^\| `(?P<method>[A-Z]+) (?P<path>/[^`]*)` \| (?P<statuses>[0-9 ]+) \|$", re.MULTILINE)


def test_the_table_is_the_document() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    told = {(row["method"], row["path"]): row["statuses"].split() for row in _ROW.finditer(text)}
    real = {
        (method.upper(), path): sorted(operation["responses"])
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    assert told == real


def test_every_status_is_explained() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    explained = set(re.findall(r"^\| ([1-5][0-9]{2}) \|", text, re.MULTILINE))
    used = {status for row in _ROW.finditer(text) for status in row["statuses"].split()}
    assert explained == used
