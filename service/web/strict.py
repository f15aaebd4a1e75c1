"""Refusing queries that say what no route understands: see :mod:`service.planning.query`."""

from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute

from service.client.signing import EXPIRES, SIGNATURE
from service.planning.query import check_query
from service.web.access import SIGNED_URL


async def only_known_parameters(request: Request) -> None:
    """Dependency of every route: its parameters are those of the OpenAPI document, which is the API's word.

    Raises BadParameter for unknown names and for repeated ones.
    """
    query: bytes = request.scope["query_string"]
    if query:
        check_query(query.decode("latin-1"), _known(request))


def _known(request: Request) -> set[str]:
    """The names that the document gives to the parameters of the request's route."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or not route.include_in_schema:
        return set()
    paths: dict[str, Any] = request.app.openapi()["paths"]
    operation = paths[route.path_format][request.method.lower()]
    names = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
    signed = any(SIGNED_URL.scheme_name in scheme for scheme in operation.get("security", ()))
    return names | {SIGNATURE, EXPIRES} if signed else names
