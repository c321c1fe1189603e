"""An attacker on the network: raw requests and WebSockets to a real server with a password, and to
one without."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from browsing import free_port, served
from conftest import KINDS, ROOT
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.util import calc_hash
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from dashboard.password import MAX_ATTEMPTS

PASSWORD = "correct horse"
STUDY = "infeasible"
assert STUDY in KINDS
SERVER = """
import sys
sys.path.insert(0, {root!r})
from dashboard import password
from dashboard.launch import serve
password.WINDOW_SECONDS = 600.0  # the attempts of a test count together on a slow machine too
serve({storage!r}, host={host!r}, port={port})
"""
RERUN = ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
HEADERS = {
    "content-security-policy": "default-src 'self'",
    "x-frame-options": "SAMEORIGIN",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def _server(storage: str, host: str) -> Iterator[int]:
    port = free_port()
    code = SERVER.format(root=str(ROOT), storage=storage, host=host, port=port)
    environment = {**os.environ, "AUTOTUNE_DASHBOARD_PASSWORD": PASSWORD}
    with served([sys.executable, "-c", code], port, environment):
        yield port


@pytest.fixture(scope="module")
def locked(storage: str) -> Iterator[int]:
    """The port of a server for other machines."""
    yield from _server(storage, "0.0.0.0")


@pytest.fixture(scope="module")
def local(storage: str) -> Iterator[int]:
    """The port of a server without a password."""
    yield from _server(storage, "127.0.0.1")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def send_raw(port: int, request: bytes) -> Answer:
    """The answer to the bytes of one HTTP request."""
    with socket.create_connection(("127.0.0.1", port), timeout=90) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65_536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(": ") for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in fields}, body)


def get(port: int, path: str, host: str = "localhost", method: str = "GET") -> Answer:
    lines = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return send_raw(port, lines.encode("latin-1"))


def open_stream(port: int, headers: Mapping[str, str], **options: str) -> ClientConnection:
    url = f"ws://127.0.0.1:{port}/_stcore/stream"
    return connect(url, additional_headers=headers, max_size=None, proxy=None, **options)


class Visit:
    """A page in a session of its own, as the script of the browser requests it."""

    def __init__(self, connection: ClientConnection, page: str) -> None:
        self.connection = connection
        self.page = page
        self.widgets: dict[str, str] = {}

    def run(self, values: Mapping[str, str | bool] | None = None) -> bytes:
        """Run the page with ``values`` of widgets. Returns all that the server sends."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string = f"study={STUDY}&trial=0"
        state.page_script_hash = calc_hash(self.page)
        for identifier, value in (values or {}).items():
            widget = state.widget_states.widgets.add(id=identifier)
            if isinstance(value, bool):
                widget.trigger_value = value
            else:
                widget.string_value = value
        self.connection.send(message.SerializeToString())
        answer = b""
        while True:
            data = self.connection.recv(timeout=90)
            assert isinstance(data, bytes)
            answer += data
            part = ForwardMsg.FromString(data)
            element = part.delta.new_element
            for kind in ("text_input", "button"):
                if element.HasField(kind):
                    self.widgets[kind] = getattr(element, kind).id
            if part.WhichOneof("type") == "script_finished" and part.script_finished != RERUN:
                return answer

    def enter(self, password: str) -> bytes:
        return self.run({self.widgets["text_input"]: password, self.widgets["button"]: True})


def has_results(answer: bytes) -> bool:
    """Whether the name of a study or of a metric is in an answer."""
    return STUDY.encode() in answer or b"train_samples_per_second" in answer


PAGES = ("", "front", "trials", "trial", "search", "levers", "compare", "export")


def test_no_page_shows_anything_before_the_password(locked: int) -> None:
    with open_stream(locked, {}) as connection:
        for page in PAGES:
            answer = Visit(connection, page).run()
            assert b"Password" in answer and not has_results(answer), page


def test_wrong_passwords_are_limited_by_address_and_not_by_session(locked: int) -> None:
    attacker = {"X-Forwarded-For": "203.0.113.9"}  # as the proxy on this machine adds it
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with open_stream(locked, attacker) as connection:
            visit = Visit(connection, "front")
            visit.run()
            answer = visit.enter("wrong")
            assert (b"Wrong password" in answer) == (attempt < MAX_ATTEMPTS)
    with open_stream(locked, attacker) as connection:
        visit = Visit(connection, "front")
        visit.run()
        answer = visit.enter(PASSWORD)
        assert b"Too many wrong passwords" in answer and not has_results(answer)
    with open_stream(locked, {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}) as connection:
        visit = Visit(connection, "")
        visit.run()
        assert has_results(visit.enter(PASSWORD)), "the address that the proxy saw is another one"


def test_a_session_is_not_taken_over_by_its_name(locked: int) -> None:
    """The subprotocols of a WebSocket can name a session to reconnect to."""
    url = f"ws://127.0.0.1:{locked}/_stcore/stream"
    names = ["streamlit", "x", "00000000-0000-4000-8000-000000000000"]
    with connect(url, subprotocols=names, proxy=None) as connection:  # type: ignore[arg-type]
        assert not has_results(Visit(connection, "").run())


@pytest.mark.parametrize(
    "path",
    ["/", "/front", "/_stcore/health", "/_stcore/host-config", "/favicon.png", "/nothing/here",
     "/static/js/nothing.js", "/media/nothing.csv", "/static/../../../../etc/passwd",
     "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/media/..%2f..%2fetc%2fpasswd",
     "/component/x/../../../etc/passwd", "/app/static/studies.db", "//etc/passwd"],
)  # fmt: skip
def test_each_answer_has_the_headers_and_no_file_of_the_machine(locked: int, path: str) -> None:
    answer = get(locked, path)
    assert all(answer.headers[name].startswith(value) for name, value in HEADERS.items()), path
    assert b"root:" not in answer.body and b"SQLite format" not in answer.body
    assert not has_results(answer.body)
    assert "access-control-allow-origin" not in answer.headers


def test_inline_scripts_run_by_their_hash_only(locked: int) -> None:
    policy = get(locked, "/").headers["content-security-policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts.count("'sha256-") == 2
    assert "unsafe-inline" not in scripts and "'unsafe-eval'" not in scripts
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "TRACE", "CONNECT"])
def test_nothing_can_be_sent_before_the_password(locked: int, method: str) -> None:
    for path in ("/_stcore/upload_file/a/b", "/_stcore/agent/interact", "/_stcore/agent/mcp"):
        answer = get(locked, path, method=method)
        assert answer.status in (400, 405)


FOREIGN_REQUESTS: Sequence[bytes] = (
    b"GET /front HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /front HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /front HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
    b"Connection: close\r\n\r\n",
    b"GET /front HTTP/1.0\r\n\r\n",
    b"GET http://evil.example/front HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /front HTTP/1.1\r\nHost: localhost.evil.example\r\nX-Forwarded-Host: localhost\r\n"
    b"Connection: close\r\n\r\n",
    b"GET /front HTTP/1.1\r\nHost: localhost@evil.example\r\nConnection: close\r\n\r\n",
)


@pytest.mark.parametrize("request_bytes", FOREIGN_REQUESTS)
def test_requests_by_a_foreign_name_are_refused(local: int, request_bytes: bytes) -> None:
    answer = send_raw(local, request_bytes)
    assert answer.status in (400, 403) and not has_results(answer.body)


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
     {"Host": "evil.example", "Origin": "http://evil.example"}],
)  # fmt: skip
def test_streams_by_a_foreign_name_are_refused(local: int, headers: Mapping[str, str]) -> None:
    """DNS rebinding: a page of another site lets its name point to this machine."""
    host = headers.get("Host", f"localhost:{local}")
    origin = f"Origin: {headers['Origin']}\r\n" if "Origin" in headers else ""
    answer = send_raw(
        local,
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode(),
    )
    assert answer.status == 403
    with open_stream(local, {}) as connection:
        assert has_results(Visit(connection, "").run()), "the server's own name is served"


def test_a_stream_with_a_foreign_origin_is_refused_with_a_password_too(locked: int) -> None:
    with pytest.raises(InvalidHandshake):
        open_stream(locked, {"Origin": "http://evil.example"}).close()
