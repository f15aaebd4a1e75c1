"""Errors as RFC 9457 problem+json."""

import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from service.errors import ServiceError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """The body of every error."""

    type: str = Field(default="about:blank", description="about:blank: the status says it all")
    title: str = Field(description="the kind of problem, the same for every case of it")
    status: int = Field(description="the HTTP status")
    detail: str = Field(default="", description="what was wrong with this request")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {s: {"description": HTTPStatus(s).phrase, "content": content} for s in statuses}


def response(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem as an answer that no cache keeps."""
    body = Problem(type="about:blank", title=title, status=status, detail=detail).model_dump()
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(body, status, all_headers, media_type=MEDIA_TYPE)


def from_error(error: ServiceError) -> JSONResponse:
    """The answer to an error of the service's own tree."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return response(error.status, error.title, str(error), headers)


def install(app: FastAPI) -> None:
    """Let every error of the application leave as a problem."""

    @app.exception_handler(ServiceError)
    async def _service(_: Request, error: ServiceError) -> JSONResponse:
        return from_error(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        parts = [f"{e['loc'][-1]}: {e['msg']}" for e in error.errors()]
        return response(422, "Bad parameter", "; ".join(parts))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        title = HTTPStatus(error.status_code).phrase
        return response(error.status_code, title, error.detail, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, __: Exception) -> JSONResponse:
        return response(500, "Internal error", "an error in this service; the log has the details")
