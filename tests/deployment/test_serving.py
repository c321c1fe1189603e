"""The HTTP server of artifacts, and its latency under load, with a pipeline that does no work."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from autotune.deployment import serving
from autotune.deployment.load import measure_load
from autotune.deployment.serving import PredictionServer
from autotune.errors import DataError, ExecutionError


class EchoPipeline:
    """Predicts the text itself as the label."""

    def predict(self, rows: list[dict[str, str]]) -> list[dict[str, str]]:
        if any("text" not in row for row in rows):
            raise DataError("row 1 has no text")
        if any(row["text"] == "broken" for row in rows):
            raise RuntimeError("the runtime failed")
        return [{"label": row["text"]} for row in rows]


@pytest.fixture
def server() -> Iterator[PredictionServer]:
    """A server whose model is not loaded yet."""
    with PredictionServer(("127.0.0.1", 0)) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def load_model(server: PredictionServer) -> None:
    server.pipeline = EchoPipeline()  # type: ignore[assignment]


def request(server: PredictionServer, method: str, path: str, body: Any = None) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_server_is_ready_once_the_model_is_loaded(server: PredictionServer) -> None:
    body = json.dumps({"rows": [{"text": "good"}]})
    assert request(server, "GET", "/health")[0] == 200
    assert request(server, "GET", "/ready")[0] == 503
    assert request(server, "POST", "/predict", body)[0] == 503
    load_model(server)
    assert request(server, "GET", "/ready")[0] == 200
    status, answer = request(server, "POST", "/predict", body)
    assert (status, json.loads(answer)) == (200, {"predictions": [{"label": "good"}]})


def test_metrics_count_rows_errors_and_latency(server: PredictionServer) -> None:
    load_model(server)
    request(server, "POST", "/predict", json.dumps({"rows": [{"text": "a"}, {"text": "b"}]}))
    request(server, "POST", "/predict", "not JSON")
    status, text = request(server, "GET", "/metrics")
    assert status == 200
    assert "\npredict_rows_total 2\n" in text
    assert "\npredict_errors_total 1\n" in text
    assert "\npredict_seconds_count 1\n" in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "send"),
        ('{"rows": []}', "send"),
        ('{"rows": [{}]}', "row 1 has no text"),
        (json.dumps({"rows": [{"text": "a"}] * (serving.MAX_ROWS + 1)}), "1 to 1024 rows"),
    ],
)
def test_a_request_that_is_not_valid_is_answered_with_the_reason(
    server: PredictionServer, body: str, message: str
) -> None:
    load_model(server)
    status, answer = request(server, "POST", "/predict", body)
    assert status == 400
    assert message in json.loads(answer)["error"]


def test_a_large_body_is_not_read(server: PredictionServer) -> None:
    load_model(server)
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(serving.MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_latency_is_measured_for_each_request(server: PredictionServer) -> None:
    load_model(server)
    address = ("127.0.0.1", server.server_address[1])
    result = measure_load(address, [{"text": "a"}, {"text": "b"}], concurrency=3, seconds=0.05)
    assert result.concurrency == 3
    assert result.requests >= 3
    assert 0 < result.p50_ms <= result.p95_ms <= result.p99_ms


def test_a_request_that_fails_ends_the_measurement(server: PredictionServer) -> None:
    load_model(server)
    address = ("127.0.0.1", server.server_address[1])
    with pytest.raises(ExecutionError, match="row 1 has no text"):
        measure_load(address, [{"words": "a"}], concurrency=2, seconds=0.05)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_that_is_not_used_is_no_request(server: PredictionServer, method: str) -> None:
    """A proxy can share connections between clients."""
    inner = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    outer = f"{method} /unused HTTP/1.1\r\nHost: a\r\nContent-Length: {len(inner)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=60) as client:
        client.sendall((outer + inner).encode())
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 404") and b"Connection: close" in answer


def test_an_error_of_the_runtime_is_answered(server: PredictionServer) -> None:
    load_model(server)
    status, answer = request(server, "POST", "/predict", '{"rows": [{"text": "broken"}]}')
    assert (status, json.loads(answer)) == (500, {"error": "the prediction failed"})
    assert server.metrics.errors == 1
    assert request(server, "POST", "/predict", '{"rows": [{"text": "a"}]}')[0] == 200
