"""The application: makes the parts, ties them to the routes, ends them in the right order."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from service.engine.choice import engine_of
from service.engine.gauges import EngineGauges
from service.heeding import heed
from service.library import Library
from service.metrics import Metrics
from service.planning.formats import readable_formats
from service.planning.presets import Presets
from service.purge import Purge
from service.refining.pictures import Refining
from service.routes import delivery, health, iiif, images, jobs, page
from service.routes import originals as original_routes
from service.routes.parameters import presets_of
from service.settings import Settings
from service.storage import models
from service.storage.cooling import Cooling
from service.storage.disk import Disk
from service.storage.fsck import watch
from service.storage.migration import migrate
from service.storage.originals import originals_of
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from service.web import problems
from service.web.compression import Compressed
from service.web.connection import ClientGone
from service.web.context import Context
from service.web.jobs import Jobs
from service.web.methods import Methods
from service.web.middleware import Guarded, Observed
from service.web.rates import RateLimited
from service.web.repeats import Repeated, Repeats
from service.web.sending import Outgoing
from service.web.strict import only_known_parameters
from service.web.uploads import incoming_of

log = logging.getLogger("compass")

MODULES = (images, jobs, delivery, original_routes, iiif, health, page)
"""Whose routes the application has."""
EXPOSED_HEADERS = (
    "ETag", "Server-Timing", "X-Request-ID", "Location", "Retry-After", "Content-Range", "Accept-Ranges",
    "Preference-Applied",
    "Compass-Layer", "Compass-Layers-Decoded", "Compass-Bytes-Read", "Compass-Bytes-Stored",
    "RateLimit", "RateLimit-Policy",
)  # fmt: skip
"""Headers that scripts of other origins may read."""
ACCEPTED_HEADERS = (
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "If-None-Match",
    "Range",
    "If-Range",
    "Cache-Control",
    "Prefer",
)
"""Headers that they may send."""

DESCRIPTION = """
One upload, every width. A picture is stored once, as one stream of a learned, spatially scalable
codec; any width is decoded from only the first layers it needs, and answered as AVIF, WebP, JPEG or
PNG.
"""


def create_app(settings: Settings) -> FastAPI:
    """The application for uvicorn; nothing starts before its lifespan does.

    Raises BadParameter for presets that say nothing.
    """
    metrics, presets = Metrics(), presets_of(settings.presets)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.context = await _start(settings, metrics, presets, stack)
            yield

    app = FastAPIOffline(  # /docs without files from other hosts
        title="COMPASS image server",
        version=_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(only_known_parameters)],
        responses=problems.documented(422),
        redirect_slashes=False,
        redoc_url=None,
        static_url="/docs-static",
    )
    problems.install(app)

    @app.exception_handler(ClientGone)
    async def _gone(_: Request, __: ClientGone) -> Response:
        return Response(status_code=499)

    for module in MODULES:
        app.include_router(module.router)
    app.mount("/static", page.files)
    routers = [module.router for module in MODULES]
    routes = [route for router in (app.router, *routers) for route in router.routes]
    for route in routes:
        if isinstance(route, APIRoute):
            metrics.begin_failures(route.path, route.methods or (), route.responses)
    app.add_middleware(Methods, routes=routes)
    app.add_middleware(Repeated, repeats=lambda: app.state.context.repeats)
    app.add_middleware(Guarded)
    if settings.rate_limit:
        app.add_middleware(RateLimited, per_minute=settings.rate_limit)
    app.add_middleware(Compressed)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=ACCEPTED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=86400,
        )
    app.add_middleware(Observed, metrics=metrics)
    return app


async def _start(settings: Settings, metrics: Metrics, presets: Presets, stack: AsyncExitStack) -> Context:
    """Start store and engine; what was started is ended by the stack, last first."""
    log.info("reads %s", ", ".join(readable_formats()))
    url, disk = settings.redis_url, None
    if url is None:
        log.info("starting the store in %s, which reads all that it holds", settings.data)
        valkey = EmbeddedValkey(settings.data, settings.store_memory_bytes)
        stack.push_async_callback(valkey.stop)
        await valkey.start()
        url, disk = valkey.url, Disk(settings.data, settings.store_disk_reserve)
        metrics.store_disk_reserve.set(disk.reserve)
        metrics.store_disk_free.set_function(lambda: disk.free)
    store = Store(url, settings, metrics, disk)
    stack.push_async_callback(store.close)
    originals = originals_of(settings, store)
    log.info("starting the workers, which load the weights of %s", settings.profile)
    engine = engine_of(settings)
    stack.push_async_callback(engine.stop)
    await engine.start()
    metrics.registry.register(EngineGauges(lambda: engine.state))
    model_id = engine.model_id.hex()
    metrics.build.info({"version": _version(), "profile": settings.profile, "model": model_id})
    aside = Store(url, settings, Metrics(), disk)  # what is read in the background is no answer's bytes
    stack.push_async_callback(aside.close)
    background = [migrate(store), models.watch(aside, metrics, settings.check_hours)]
    if settings.check_hours:
        background.append(watch(aside, settings.check_hours, metrics.damaged.inc, originals))
    if settings.cold:
        background.append(Cooling(aside, metrics, settings.cold_seconds).for_ever())
    if settings.refine != "off":
        refining = Refining(aside, metrics, settings.refine, engine.refine)
        background += [refining.for_ever() for _ in range(engine.refiners)]
    library = Library(settings, store, engine, metrics, originals)
    purge = Purge(settings.purge_url, metrics) if settings.purge_url else None
    background.append(heed(library, metrics, purge))
    if purge is not None:
        background.append(purge.for_ever())
    for work in background:
        stack.push_async_callback(_cancelled, asyncio.create_task(work))
    where = "Redis" if settings.redis_url else settings.data
    log.info("profile %s, storing in %s", settings.profile, where)
    incoming = incoming_of(settings)
    slots, outgoing = asyncio.Semaphore(settings.max_uploads), Outgoing(settings.unsent_bytes)
    repeats = Repeats(library, outgoing, settings.repeats_bytes)
    jobs_here = Jobs(store.jobs, settings.drain_seconds, metrics)
    stack.push_async_callback(jobs_here.close)
    return Context(
        settings, metrics, store, engine, library, slots, incoming, outgoing, repeats, presets, jobs_here
    )


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _version() -> str:
    try:
        return version("compass-images")
    except PackageNotFoundError:
        return "0"
