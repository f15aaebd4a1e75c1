"""Routes for those who run the service."""

import asyncio
import math

from fastapi import APIRouter, Depends, Response

from service.errors import ServiceError
from service.web.context import ServiceContext, may_watch
from service.web.problems import documented
from service.web.problems import response as problem

READY_SECONDS = 1.5
"""How long /readyz waits for the store: who asks it waits two seconds, or three."""
STORE_SECONDS = 3
"""How long /metrics waits for the store before it reports it as down."""

router = APIRouter(tags=["operation"])


@router.get("/healthz", summary="Alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does; touches neither store nor workers."""
    return {"status": "ok"}


@router.get("/readyz", summary="Ready for work", responses=documented(503), response_model=None)
async def readyz(context: ServiceContext) -> Response | dict[str, str]:
    """Green when the store answers and a worker is ready."""
    if not context.engine.ready:
        return problem(503, "Not ready", "no worker is ready", {"Retry-After": "2"})
    try:
        async with asyncio.timeout(READY_SECONDS):
            await context.store.ping()
    except (ServiceError, TimeoutError) as error:
        return problem(503, "Not ready", str(error) or "the store hangs", {"Retry-After": "2"})
    return {"status": "ok"}


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    dependencies=[Depends(may_watch)],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented(401)},
)
async def metrics(context: ServiceContext) -> Response:
    """See docs/metrics.md. Asks the store as well, but does not wait for it longer than scrapes do."""
    measured = context.metrics
    try:
        async with asyncio.timeout(STORE_SECONDS):
            used, limit = await context.store.memory()
            waiting, bytes_waiting = await context.store.waiting.counts()
            backup = await context.store.last_backup()
    except (ServiceError, TimeoutError):
        measured.store_up.set(0)
    else:
        measured.store_up.set(1)
        measured.store_memory.set(used)
        measured.store_limit.set(limit)
        measured.backup.set(math.nan if backup is None else backup)
        measured.refinements_waiting.set(waiting)
        measured.refinements_waiting_bytes.set(bytes_waiting)
    return Response(measured.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
