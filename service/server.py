"""The HTTP server: uvicorn with our connections, our logs, and an end that lets nobody down."""

import asyncio
import socket
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.app import create_app
from service.settings import Settings
from service.web.stalls import dropping_after

LAST_SECONDS = 5
"""Time to answer with 503 what the workers could not finish before the end."""


class Server(uvicorn.Server):
    """At its end the workers stop first, so that every request gets its answer or a 503."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the workers finish what they can while connections are closed; called once, by uvicorn."""
        context = getattr(self._app.state, "context", None)
        draining = asyncio.create_task(context.engine.drain()) if context else None
        await super().shutdown(sockets)
        if draining:
            await draining


def serve(settings: Settings) -> bool:
    """Serve until a signal comes; False if it could not start. Raises OSError if the address is taken."""
    app = create_app(settings)
    with bound(settings.host, settings.port) as sock:
        config = uvicorn.Config(
            _told_in_a_line(app),
            http=dropping_after(settings.stall_seconds, settings.min_rate),
            limit_concurrency=settings.max_connections + 1,  # uvicorn refuses when so many are open
            log_config=logging_config(),
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.drain_seconds) + LAST_SECONDS,
        )
        server = Server(config, app)
        with suppress(SystemExit):  # uvicorn's own way to say that it could not start
            server.run(sockets=[sock])
        return server.started


def bound(host: str, port: int) -> socket.socket:
    """A socket at that address, which listens when the server is ready. Raises OSError if it is taken."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: cannot listen on {host} port {port}") from error
    return sock


def _told_in_a_line(app: ASGIApp) -> ASGIApp:
    """The application, whose own errors at the start are told without a traceback."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        async def shortened(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                kind, _, detail = message["message"].strip().splitlines()[-1].partition(": ")
                if kind.startswith("service.errors."):
                    message = {**message, "message": f"cannot start: {detail}"}
            await send(message)

        await app(scope, receive, shortened if scope["type"] == "lifespan" else send)

    return told


def logging_config() -> dict[str, object]:
    """Times and levels on stderr; access lines, which are JSON, on stdout as they are."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
            "json": {"format": "%(message)s"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"},
            "stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"},
        },
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {"compass.access": {"level": "INFO", "handlers": ["stdout"], "propagate": False}},
    }
