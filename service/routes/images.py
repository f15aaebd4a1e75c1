"""Routes that keep, list and delete pictures."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from service.errors import Overloaded
from service.library import Told, unheard
from service.messages.text import on_one_line
from service.routes.answers import PRIVATE
from service.routes.jobs import JobInfo, job_url
from service.routes.parameters import NewName, PageParameters, PictureId, UploadParameters
from service.routes.schemas import Page, PictureInfo, picture_info
from service.storage.records import Record
from service.web.connection import while_connected
from service.web.context import Context, ServiceContext, SigningKey, may_list, may_read, may_write
from service.web.jobs import PREFERENCE, prefers_async
from service.web.problems import documented

router = APIRouter(tags=["pictures"])

_LOOKS, _LOOKED_AT = 4, 250
"""A search looks at so many pages of so many pictures before it answers."""
_PREFER = "`respond-async`: answer 202 as soon as the body is here, with a job that tells how far it is"

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "/images",
    status_code=201,
    response_model=PictureInfo,
    summary="Keep a picture",
    openapi_extra=_BODY,
    dependencies=[Depends(may_write)],
    responses={
        200: {"description": "It was kept before; nothing was stored", "model": PictureInfo},
        202: {"description": "It came whole, and is not kept yet: the job tells", "model": JobInfo},
        **documented(400, 401, 408, 413, 415, 422, 429, 500, 503, 507),
    },
)
async def keep(
    request: Request,
    response: Response,
    context: ServiceContext,
    signing: SigningKey,
    parameters: Annotated[UploadParameters, Query()],
    prefer: Annotated[str | None, Header(description=_PREFER)] = None,
) -> PictureInfo | Response:
    """Send the picture as the form field `file`, or as the raw body of the request.

    JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, and HEIC where it is installed. It is turned upright, converted
    to sRGB and stripped of metadata, but for its makers where `metadata=copyright`. Animations are
    refused, or taken by their first frame (`frame=0`). The same upload again, with the same
    parameters, is answered 200 and stored once.
    """
    if context.upload_slots.locked():
        raise Overloaded("too many uploads at once")
    async with AsyncExitStack() as held:
        data = await held.enter_async_context(context.incoming.body(request))
        if prefers_async(prefer):
            return await _accepted(context, parameters, data, held)
        record, new = await while_connected(request, _keep(context, parameters, data))
    response.status_code = 201 if new else 200
    info = picture_info(record, context.settings.public_url, signing)
    response.headers["Location"] = info.url
    return info


async def _accepted(
    context: Context, parameters: UploadParameters, data: bytes, held: AsyncExitStack
) -> Response:
    """The answer to an upload whose body is here and ``held`` until it is kept, or is not."""

    async def work(told: Told) -> Record:
        return (await _keep(context, parameters, data, told))[0]

    later = held.pop_all()
    try:
        job = await context.jobs.begin(work, later)
    except BaseException:
        await later.aclose()
        raise
    info = JobInfo(id=job, url=job_url(context, job), state="working", stage="waiting", percent=0)
    headers = {"Location": info.url, "Preference-Applied": PREFERENCE, "Cache-Control": "no-store"}
    return Response(info.model_dump_json(), 202, headers, "application/json")


async def _keep(
    context: Context, parameters: UploadParameters, data: bytes, told: Told = unheard
) -> tuple[Record, bool]:
    """Keep an upload, whose body is here, when it is its turn."""
    async with context.upload_slots:
        return await context.library.keep(
            data,
            parameters.quality,
            parameters.layer_widths(),
            parameters.max_width,
            parameters.ttl,
            told,
            parameters.keeping(),
        )


@router.get(
    "/images",
    summary="List pictures, newest first",
    dependencies=[Depends(may_list)],
    responses=documented(401, 403, 422, 500, 503),
)
async def listing(
    context: ServiceContext,
    response: Response,
    signing: SigningKey,
    parameters: Annotated[PageParameters, Query()],
) -> Page:
    """Follow `next` until it is null; pictures added meanwhile do not disturb the order."""
    records, following = await _page(context, parameters)
    response.headers["Cache-Control"] = "no-store"
    pictures = [picture_info(record, context.settings.public_url, signing) for record in records]
    return Page(images=pictures, next=following)


async def _page(context: Context, parameters: PageParameters) -> tuple[list[Record], str | None]:
    """A page of the listing; of a search, what is found among so many pictures."""
    if parameters.name is None:
        return await context.store.catalogue.page(parameters.cursor, parameters.limit)
    wanted, cursor = parameters.name.casefold(), parameters.cursor
    found: list[Record] = []
    for _ in range(_LOOKS):
        records, following = await context.store.catalogue.page(cursor, _LOOKED_AT)
        for record in records:
            if wanted in record.facts.name.casefold():
                found.append(record)
                if len(found) == parameters.limit:
                    return found, record.index_entry
        cursor = following
        if cursor is None:
            break
    return found, cursor


@router.get(
    "/images/{picture}/info",
    summary="What is known of a picture",
    dependencies=[Depends(may_read)],
    responses=documented(403, 404, 422, 500, 503),
)
async def info(
    context: ServiceContext, response: Response, signing: SigningKey, picture: PictureId
) -> PictureInfo:
    """Sizes, bytes a layer, a placeholder, the mean colour and a ready `srcset`."""
    response.headers["Cache-Control"] = PRIVATE
    return picture_info(await context.library.find(picture), context.settings.public_url, signing)


@router.patch(
    "/images/{picture}",
    summary="Name a picture",
    dependencies=[Depends(may_write)],
    responses=documented(401, 404, 422, 500, 503, 507),
)
async def rename(
    context: ServiceContext,
    response: Response,
    signing: SigningKey,
    picture: PictureId,
    new: Annotated[NewName, Query()],
) -> PictureInfo:
    """The name is for people and for the search of the listing; the id and the URLs stay."""
    response.headers["Cache-Control"] = PRIVATE
    record = await context.library.rename(picture, on_one_line(new.name))
    return picture_info(record, context.settings.public_url, signing)


@router.delete(
    "/images/{picture}",
    status_code=204,
    summary="Delete a picture",
    dependencies=[Depends(may_write)],
    responses=documented(401, 404, 422, 500, 503),
)
async def delete(context: ServiceContext, picture: PictureId) -> None:
    """Copies in caches outside live on until they expire."""
    await context.library.forget(picture)
