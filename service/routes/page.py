"""The page at ``/`` and its files: plain modules that talk to the public API and to no other host."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "static"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""What the page may do: run its own modules, ask its own service, and nothing else."""


class PageFiles(StaticFiles):
    """The page's modules and styles; browsers ask again each time and mostly get 304."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file, with the page's headers."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


files = PageFiles()
router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
async def page(request: Request) -> Response:
    """The page itself."""
    return await files.get_response("index.html", request.scope)
