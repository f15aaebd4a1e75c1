"""The least that FastAPI and uvicorn can do: a route that answers with bytes from memory.

    python -m benchmarks.load.bare_server PORT BYTES

It is what ``make bench-http`` compares the service's answers from memory with.
"""

import sys

import uvicorn
from fastapi import FastAPI, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

TAG = '"bare"'


def application(body: bytes) -> FastAPI:
    """Every picture is ``body``."""
    app = FastAPI()

    @app.get("/images/{picture}")
    async def picture(picture: str, width: int | None = None) -> Response:
        return Response(body, media_type="image/avif", headers={"ETag": TAG})

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(bytes(int(sys.argv[2]))), port=int(sys.argv[1]), http=H11Protocol, access_log=False
    )
