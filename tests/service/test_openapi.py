"""The service does what its OpenAPI document says, whatever is asked (schemathesis, bounded)."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def document(service, stored):
    """The document, with a picture that exists as an example of an id."""
    raw = httpx.get(f"{service.url}/openapi.json").json()
    for path, operations in raw["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and method != "delete" and "{picture}" in path:
                    parameter["schema"]["enum"] = [stored["id"], "a" * 32, "unknown"]
    found = schemathesis.openapi.from_dict(raw)
    found.config.update(base_url=service.url)
    found.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    return found


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_keeps_its_promises(case):
    case.call_and_validate(checks=CHECKS)
