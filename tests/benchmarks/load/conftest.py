"""Traffic of five small pictures, and a real server that it can be sent to."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from io import BytesIO

import pytest
import uvicorn
from fastapi import FastAPI, Response
from PIL import Image

from benchmarks.load.traffic import Stored, Traffic


def jpeg(width: int = 64, height: int = 48) -> bytes:
    out = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, "jpeg")
    return out.getvalue()


@pytest.fixture
def traffic() -> Traffic:
    pictures = [Stored(f"picture{n}", 1000, 700) for n in range(5)]
    return Traffic(pictures, [jpeg()], random.Random(7))


@pytest.fixture
def server() -> Iterator[str]:
    """A real server on the loopback: /ok answers, /busy refuses, everything else is not there."""
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> Response:
        return Response(b"body", headers={"Compass-Bytes-Read": "12", "Compass-Bytes-Stored": "34"})

    @app.get("/busy", status_code=429)
    async def busy() -> None:
        return None

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join()
