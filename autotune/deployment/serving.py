"""A small HTTP server of an artifact. Exported folders contain a copy.

- ``POST /predict`` with ``{"rows": [{"text": "..."}, ...]}`` answers ``{"predictions": [...]}``
- ``GET /health``: the process runs
- ``GET /ready``: the model is loaded
- ``GET /metrics``: requests, rows, errors and latency, in the text format of Prometheus

One request is predicted at a time, on all threads of the artifact: it has the lowest latency so.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autotune.deployment.pipeline import Pipeline
from autotune.errors import AutotuneError, UsageError

MAX_BODY_BYTES = 16 * 2**20
MAX_ROWS = 1024
REQUEST_TIMEOUT_SECONDS = 30.0

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper ends of the buckets of the latency histogram, in seconds."""


@dataclass
class ServerMetrics:
    """Counts since the start of the server. ``buckets`` has the requests at most as long as each of
    :data:`LATENCY_BUCKETS`."""

    requests: int = 0
    rows: int = 0
    errors: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(LATENCY_BUCKETS))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_request(self, rows: int, seconds: float) -> None:
        with self.lock:
            self.requests += 1
            self.rows += rows
            self.seconds += seconds
            for index, limit in enumerate(LATENCY_BUCKETS):
                self.buckets[index] += seconds <= limit

    def add_error(self) -> None:
        with self.lock:
            self.errors += 1

    def text(self) -> str:
        """All metrics in the text format of Prometheus."""
        with self.lock:
            lines = [
                *_counter("predict_rows_total", "Rows predicted", self.rows),
                *_counter("predict_errors_total", "Requests answered with an error", self.errors),
                "# HELP predict_seconds Seconds to answer a request",
                "# TYPE predict_seconds histogram",
            ]
            for limit, count in zip(LATENCY_BUCKETS, self.buckets, strict=True):
                lines.append(f'predict_seconds_bucket{{le="{limit:g}"}} {count}')
            lines.append(f'predict_seconds_bucket{{le="+Inf"}} {self.requests}')
            lines.append(f"predict_seconds_sum {self.seconds:.6f}")
            lines.append(f"predict_seconds_count {self.requests}")
        return "\n".join(lines) + "\n"


def _counter(name: str, summary: str, value: int) -> tuple[str, ...]:
    return (f"# HELP {name} {summary}", f"# TYPE {name} counter", f"{name} {value}")


class PredictionServer(ThreadingHTTPServer):
    """Listens at once; is ready when :attr:`pipeline` is set."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.pipeline: Pipeline | None = None
        self.metrics = ServerMetrics()
        self._session_lock = threading.Lock()

    def predict(self, document: Any) -> Mapping[str, Any]:
        """The answer to a request. Raises :class:`UsageError` for one that is not valid."""
        rows = document.get("rows") if isinstance(document, dict) else None
        if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
            raise UsageError(f'send {{"rows": [{{"text": "..."}}]}} with 1 to {MAX_ROWS} rows')
        if self.pipeline is None:
            raise NotReadyError
        start = time.perf_counter()
        with self._session_lock:
            predictions = self.pipeline.predict(rows)
        self.metrics.add_request(len(rows), time.perf_counter() - start)
        return {"predictions": predictions}


class NotReadyError(Exception):
    """The model is not loaded yet."""


class _Handler(BaseHTTPRequestHandler):
    server: PredictionServer
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_SECONDS
    disable_nagle_algorithm = True  # headers and body are two packets: the second would wait

    def do_GET(self) -> None:
        self._discard_body()
        if self.path == "/health":
            self._answer(HTTPStatus.OK, {"status": "alive"})
        elif self.path == "/ready":
            is_ready = self.server.pipeline is not None
            status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, {"status": "ready" if is_ready else "loading"})
        elif self.path == "/metrics":
            self._send(HTTPStatus.OK, self.server.metrics.text(), "text/plain; version=0.0.4")
        else:
            self._fail(HTTPStatus.NOT_FOUND, f"no such path: {self.path}")

    def do_POST(self) -> None:
        if self.path != "/predict":
            self._discard_body()
            self._fail(HTTPStatus.NOT_FOUND, f"no such path: {self.path}")
            return
        try:
            self._answer(HTTPStatus.OK, self.server.predict(self._document()))
        except NotReadyError:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, "the model is being loaded")
        except AutotuneError as error:
            self._fail(HTTPStatus.BAD_REQUEST, error.message)
        except (ConnectionError, TimeoutError):
            raise  # the client is gone
        except Exception as error:  # runtimes raise errors of many types
            traceback.print_exception(error)
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, "the prediction failed")

    def _discard_body(self) -> None:
        """Close the connection after the answer if a body was announced that is not used: what is
        left of it would be taken for the next request. A body of usual size is read first, because
        closing with unread bytes can cost the client the answer."""
        length = self.headers.get("Content-Length", "0")
        if length == "0" and "Transfer-Encoding" not in self.headers:
            return
        self.close_connection = True
        if length.isdecimal() and int(length) <= MAX_BODY_BYTES:
            self.rfile.read(int(length))

    def _document(self) -> Any:
        body = self._body()
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UsageError("the body is not JSON") from error

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True  # the body was not read
            raise UsageError(f"send a body of at most {MAX_BODY_BYTES} bytes, with its length")
        return self.rfile.read(int(length))

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self.server.metrics.add_error()
        self._answer(status, {"error": message})

    def _answer(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(document, ensure_ascii=False), "application/json")

    def _send(self, status: HTTPStatus, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No line for each request: ``/metrics`` counts them."""
