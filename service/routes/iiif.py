"""IIIF Image API 3.0, level 2, for viewers that zoom: ``/iiif/3/{id}/...``."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from model.geometry import Size
from service.planning import iiif
from service.routes.answers import PRIVATE, of_one_stream, picture_headers, respond
from service.routes.parameters import PictureId
from service.web.context import Context, ServiceContext, Trusted, may_read, may_see_all
from service.web.problems import documented

router = APIRouter(prefix="/iiif/3", tags=["IIIF"], dependencies=[Depends(may_read)])

OPEN = {"Access-Control-Allow-Origin": "*"}
"""The standard wants pictures to be readable from every origin."""
LINKED_DATA = f'application/ld+json;profile="{iiif.CONTEXT}"'

_ERRORS = documented(400, 403, 404, 429, 500, 501, 503)
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture", "content": {"image/*": {"schema": {"type": "string"}}}},
    304: {"description": "The client's copy is still right"},
    **_ERRORS,
}


@router.get("/{picture}", summary="Where to begin", status_code=303, response_class=RedirectResponse)
async def base(context: ServiceContext, picture: PictureId) -> Response:
    """To the picture's info.json."""
    return RedirectResponse(f"{_address(context, picture)}/info.json", 303, OPEN)


@router.get(
    "/{picture}/info.json",
    summary="Sizes, tiles and limits",
    response_class=JSONResponse,
    responses=documented(403, 404, 500, 503),
)
async def information(request: Request, context: ServiceContext, picture: PictureId) -> Response:
    """JSON, or JSON-LD for clients that ask for `application/ld+json`."""
    record = await context.library.find(picture)
    layers = record.header.sizes
    content = iiif.information(_id(request, context, picture), layers, _limits(context, layers[-1]))
    linked = "application/ld+json" in request.headers.get("accept", "")
    link = f'<{iiif.PROFILE}>;rel="profile"'
    headers = {**OPEN, "Cache-Control": PRIVATE, "Vary": "Accept", "Link": link}
    return JSONResponse(content, headers=headers, media_type=LINKED_DATA if linked else None)


@router.head(
    "/{picture}/{region}/{size}/{rotation}/{file}",
    response_class=Response,
    operation_id="iiif_headers",
    summary="Headers of a part of a picture",
    dependencies=[Depends(may_see_all)],
    responses=_IMAGE,
)
@router.get(
    "/{picture}/{region}/{size}/{rotation}/{file}",
    response_class=Response,
    operation_id="iiif_image",
    summary="A part of a picture at a size",
    dependencies=[Depends(may_see_all)],
    responses=_IMAGE,
)
async def image(
    request: Request,
    context: ServiceContext,
    trusted: Trusted,
    picture: PictureId,
    region: Annotated[str, Path(description="full, square, x,y,w,h or pct:x,y,w,h")],
    size: Annotated[str, Path(description="max, w,h !w,h w, ,h or pct:n, with ^ to enlarge")],
    rotation: Annotated[str, Path(description="0, 90, 180 or 270, with ! to mirror first")],
    file: Annotated[str, Path(description="quality.format", examples=["default.jpg"])],
) -> Response:
    """See iiif.io/api/image/3.0."""

    async def answer() -> Response:
        record = await context.library.find(picture)
        layers = record.header.sizes
        wanted = iiif.parse(layers[-1], _limits(context, layers[-1], trusted), region, size, rotation, file)
        order = context.library.order(record, wanted.view(layers), wanted.format, finish=wanted.finish)
        canonical = f"{_address(context, picture)}/{wanted.canonical(layers[-1])}"
        links = f'<{canonical}>;rel="canonical", <{iiif.PROFILE}>;rel="profile"'
        known = picture_headers(request, context, order)
        headers = {**known, **OPEN, "Link": links}
        return await respond(request, context, order, headers)

    return await of_one_stream(answer)


def _limits(context: Context, picture: Size, trusted: bool = False) -> iiif.Limits:
    return iiif.Limits.of(picture, context.settings.max_output_pixels, trusted)


def _address(context: Context, picture: str) -> str:
    """Where the picture is; without a public URL relative to this server, however a client has called it."""
    return f"{context.settings.public_url.rstrip('/')}/iiif/3/{picture}"


def _id(request: Request, context: Context, picture: str) -> str:
    """The same as the standard wants it in info.json, which no shared cache keeps: as a whole URL."""
    root = "" if context.settings.public_url else str(request.base_url).rstrip("/")
    return root + _address(context, picture)
