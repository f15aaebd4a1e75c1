"""The service does what its OpenAPI document says, whatever is asked (schemathesis, bounded)."""

import json
import re

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.write_openapi import FROZEN, document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [(path, method) for path, methods in document()["paths"].items() for method in methods]
EXAMPLES = 12


@pytest.fixture(scope="module")
def served(service, stored):
    """The service's own document; ids to try are one that exists and two that do not."""
    raw = httpx.get(f"{service.url}/openapi.json").json()
    for methods in raw["paths"].values():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and method != "delete":
                    parameter["schema"]["enum"] = [stored["id"], "a" * 32, "unknown"]
    found = schemathesis.openapi.from_dict(raw)
    found.config.update(base_url=service.url)
    return found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_keeps_its_promises(served, path, method, mode):
    operation = served[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        pytest.skip("takes no parameters")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate(checks=CHECKS)

    check()


def test_the_document_is_the_frozen_one():
    """If the HTTP API was meant to change: `make openapi`, and the difference goes into the commit."""
    assert json.loads(json.dumps(document())) == json.loads(FROZEN.read_text())


def test_every_operation_and_parameter_is_described(served):
    for methods in served.raw_schema["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert all(parameter.get("description") for parameter in operation.get("parameters", ()))


def test_documentation_needs_no_other_host(service):
    page = service.client.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) >= 2
    for asset in assets:
        assert asset.startswith("/docs-static/")
        assert service.client.get(asset).status_code == 200
