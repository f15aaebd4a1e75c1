"""An S3 service for tests, by moto, and a proxy before it that makes what it answers slow, wrong or cut
short.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal

import urllib3
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

Fault = Literal["none", "slow", "error", "cut", "wrong", "away"]
SLOW_SECONDS = 1.0
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "sesame-sesame",
    "AWS_REGION": "us-east-1",
}
_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}


class Buckets:
    """A moto server behind a proxy; ``fault`` is what happens to answers from now on, to those of GET alone
    where it says what is wrong with a body. ``asked`` lists the methods and paths that came.
    """

    def __init__(self) -> None:
        self.fault: Fault = "none"
        self.asked: list[tuple[str, str]] = []
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        _, self._port = self._moto.get_host_and_port()
        urllib3.request(
            "GET", f"http://127.0.0.1:{self._port}/moto-api/", retries=urllib3.Retry(20, backoff_factor=0.1)
        )
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._proxy.daemon_threads = True
        Thread(target=self._proxy.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._proxy.server_port}"
        self._buckets = 0

    def stop(self) -> None:
        """End both."""
        self._proxy.shutdown()
        self._proxy.server_close()
        self._moto.stop()

    def bucket(self) -> str:
        """The address of a prefix in a new, empty bucket."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        answer = urllib3.request("PUT", f"http://127.0.0.1:{self._port}/{name}")
        assert answer.status == 200
        return f"s3://{name}/some/prefix"

    def keys(self, address: str) -> list[str]:
        """The keys of all objects there."""
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        url = f"http://127.0.0.1:{self._port}/{bucket}?list-type=2&prefix={prefix}/"
        text = urllib3.request("GET", url).data.decode()
        return [part.partition("</Key>")[0].removeprefix(f"{prefix}/") for part in text.split("<Key>")[1:]]

    def change(self, address: str, key: str, data: bytes | None) -> None:
        """Write an object as nobody should, or delete it."""
        store = S3Store.from_url(
            address,
            endpoint=f"http://127.0.0.1:{self._port}",
            access_key_id="tester",
            secret_access_key="sesame",
            client_options={"allow_http": True},
        )
        if data is None:
            store.delete(key)
        else:
            store.put(key, data)

    @contextmanager
    def being(self, fault: Fault) -> Iterator[None]:
        """Have a fault for a while."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = "none"

    def _handler(buckets) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                with suppress(OSError):  # the client has left, or the test is over
                    self._answer()

            def _answer(self) -> None:
                buckets.asked.append((self.command, self.path))
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if buckets.fault == "away":
                    self.close_connection = True
                    self.connection.close()
                    return
                if buckets.fault == "slow":
                    time.sleep(SLOW_SECONDS)
                if buckets.fault == "error":
                    self.send_response(500)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                behind = HTTPConnection("127.0.0.1", buckets._port)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                behind.request(self.command, self.path, body, headers)
                answer = behind.getresponse()
                data = answer.read()
                length = answer.headers.get("Content-Length", str(len(data)))
                spoilt = self.command == "GET" and "list-type" not in self.path and data
                if spoilt and buckets.fault == "wrong":
                    data = data[:-1] + bytes([data[-1] ^ 1])
                if spoilt and buckets.fault == "cut":
                    data, self.close_connection = data[: len(data) // 2], True
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(data)
                behind.close()

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on

            def log_message(self, *_: object) -> None:
                pass

        return Handler
