"""The plain alternative to measure against: keeps an AVIF of each upload, resizes it on request.

    python -m benchmarks.load.plain_server PORT PROCESSES

The same URLs as the service, its way of writing answers, Pillow in as many processes, a queue of the same
length, no cache.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from hashlib import sha256
from io import BytesIO
from multiprocessing import get_context

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image, ImageOps

from service.planning.quality import output_quality
from service.settings import Settings
from service.worker.imagefile import write

QUEUE = 64
AVIF_QUALITY = 70
"""Keeps pictures with 37.45 dB on Kodak, as the service does at its quality of 80."""
OUTPUT = {name: output_quality(name, Settings().quality) for name in ("avif", "webp", "jpeg")}
"""The qualities of answers: as the service writes them."""


def keep(data: bytes) -> tuple[bytes, int, int]:
    """The AVIF that is stored for an upload, and its width and height."""
    with Image.open(BytesIO(data)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    out = BytesIO()
    picture.save(out, "avif", quality=AVIF_QUALITY, max_threads=1)
    return out.getvalue(), picture.width, picture.height


def resize(stored: bytes, width: int, name: str) -> bytes:
    """A stored picture at a width, written as "avif", "webp" or "jpeg"."""
    with Image.open(BytesIO(stored)) as opened:
        picture = opened.convert("RGB")
    width = min(width, picture.width)
    height = max(1, round(picture.height * width / picture.width))
    if width < picture.width:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return write(picture, name, OUTPUT[name])


def create_app(processes: int) -> FastAPI:
    """The server; everything it keeps is in memory."""
    stored: dict[str, bytes] = {}
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        pool.shutdown(cancel_futures=True)  # a child left behind would outlive this process

    app = FastAPI(lifespan=lifespan)
    waiting = asyncio.Semaphore(QUEUE + processes)

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/images", status_code=201)
    async def post(request: Request) -> dict[str, str | int]:
        data = await request.body()
        if waiting.locked():
            raise HTTPException(429)
        async with waiting:
            avif, width, height = await asyncio.get_running_loop().run_in_executor(pool, keep, data)
        name = sha256(data).hexdigest()[:32]
        stored[name] = avif
        return {"id": name, "width": width, "height": height, "bytes": len(avif)}

    @app.get("/images/{name}")
    async def get(name: str, request: Request, width: int = 100_000) -> Response:
        if name not in stored:
            raise HTTPException(404)
        if waiting.locked():
            raise HTTPException(429)
        accept = request.headers.get("accept", "")
        kind = next((kind for kind in OUTPUT if f"image/{kind}" in accept), "jpeg")
        async with waiting:
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(pool, resize, stored[name], width, kind)
        size = str(len(stored[name]))
        headers = {"Compass-Bytes-Read": size, "Compass-Bytes-Stored": size}
        return Response(body, media_type=f"image/{kind}", headers=headers)

    return app


if __name__ == "__main__":
    port, processes = map(int, sys.argv[1:])
    uvicorn.run(
        create_app(processes),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
