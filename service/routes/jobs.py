"""Routes that tell what becomes of uploads that were answered before they were kept."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from service.errors import DamagedStream, NotFound, StoreUnavailable, UnknownFormat
from service.routes.schemas import PictureInfo, picture_info
from service.storage.jobs import Failure, JobState, Stage, State
from service.web.context import Context, ServiceContext, SigningKey, may_write
from service.web.problems import Problem, documented

router = APIRouter(tags=["jobs"])

LOOK_SECONDS = 0.3
"""How often events look whether a job has got any further."""
BEAT_SECONDS = 10.0
"""An event is sent at least so often, so that nobody between takes the connection for dead."""

JobId = Annotated[str, Path(description="id of a job", max_length=64)]


class JobInfo(BaseModel):
    """An upload that was answered before it was kept."""

    id: str
    url: str = Field(description="where this is told")
    state: State = Field(description="stored: the picture is kept; failed: it is not, and `problem` says why")
    stage: Stage = Field(description="what is done now; coding includes waiting for a worker")
    percent: int = Field(description="of the work; an estimate while it is coded")
    picture: PictureInfo | None = Field(default=None, description="once it is stored; null if deleted since")
    problem: Problem | None = Field(default=None, description="as the upload would have been answered")


@router.get(
    "/jobs/{job}",
    summary="How far an upload is",
    dependencies=[Depends(may_write)],
    responses=documented(401, 404, 422, 500, 503),
)
async def job_state(context: ServiceContext, response: Response, signing: SigningKey, job: JobId) -> JobInfo:
    """Answers for ten minutes after its end. `404`: the job was over long ago, or the process that had it
    has ended; then the picture may not be kept: send it again, it is stored once."""
    response.headers["Cache-Control"] = "no-store"
    return await _told(context, signing, job, await context.jobs.board.ask(job))


@router.get(
    "/jobs/{job}/events",
    summary="The same as server-sent events, until it is over",
    response_class=StreamingResponse,
    dependencies=[Depends(may_write)],
    responses={
        200: {
            "description": "An event `progress` for each step, whose data is the JSON of the job",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **documented(401, 404, 422, 500, 503),
    },
)
async def job_events(context: ServiceContext, signing: SigningKey, job: JobId) -> StreamingResponse:
    """`curl -N` shows the upload's life. The last event is the one whose `state` is not `working`; a job that
    is lost ends with an event `lost`. While the store is away the last state is repeated. Of a picture that
    is stored and cannot be read the last event has the `problem`."""
    first = await _seen(context, signing, job)
    return StreamingResponse(
        _events(context, signing, job, first),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(context: Context, signing: str | None, job: str, told: JobInfo) -> AsyncIterator[str]:
    before: JobInfo | None = None
    sent = 0.0
    while True:
        if told != before or time.monotonic() > sent + BEAT_SECONDS:
            yield f"event: progress\ndata: {told.model_dump_json()}\n\n"
            before, sent = told, time.monotonic()
        if told.state != "working":
            return
        await asyncio.sleep(LOOK_SECONDS)
        try:
            told = await _seen(context, signing, job)
        except StoreUnavailable:  # for now: what was told last stays true
            continue
        except NotFound as error:
            yield f"event: lost\ndata: {json.dumps({'detail': str(error)})}\n\n"
            return


async def _seen(context: Context, signing: str | None, job: str) -> JobInfo:
    """What events tell of a job: its state even where its picture cannot be read, and then why.

    Raises NotFound or StoreUnavailable.
    """
    state = await context.jobs.board.ask(job)
    try:
        return await _told(context, signing, job, state)
    except (DamagedStream, UnknownFormat) as error:
        return _info(context, job, replace(state, failure=Failure(error.status, error.title, str(error))))


async def _told(context: Context, signing: str | None, job: str, state: JobState) -> JobInfo:
    picture = None
    if state.picture is not None:
        with suppress(NotFound):
            record = await context.library.find(state.picture)
            picture = picture_info(record, context.settings.public_url, signing)
    return _info(context, job, state, picture)


def _info(context: Context, job: str, state: JobState, picture: PictureInfo | None = None) -> JobInfo:
    problem = None
    if state.failure is not None:
        failure = state.failure
        problem = Problem(title=failure.title, status=failure.status, detail=failure.detail)
    return JobInfo(
        id=job,
        url=job_url(context, job),
        state=state.state,
        stage=state.stage,
        percent=state.percent,
        picture=picture,
        problem=problem,
    )


def job_url(context: Context, job: str) -> str:
    """Where a job is told of."""
    return f"{context.settings.public_url.rstrip('/')}/jobs/{job}"
