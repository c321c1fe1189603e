"""Requests that no page makes: foreign names of the server, uploads, odd numbers in URLs."""

from __future__ import annotations

import pandas as pd
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from test_pages import visit, words

from dashboard.launch import streamlit_options
from dashboard.requests import RequestFilter, allowed_hosts
from dashboard.views.trials import _csv

ALL_METHODS = ["GET", "PUT", "POST", "DELETE"]


async def _stream(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("trials")
    await socket.close()


def _client(host: str, *names: str) -> TestClient:
    routes = [
        Route("/{path:path}", lambda request: PlainTextResponse("a page"), methods=ALL_METHODS),
        WebSocketRoute("/_stcore/stream", _stream),
    ]
    return TestClient(RequestFilter(Starlette(routes=routes), allowed_hosts(host, names)))


def _streams(client: TestClient, host: str, origin: str | None) -> bool:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    try:
        with client.websocket_connect("/_stcore/stream", headers=headers) as socket:
            return socket.receive_text() == "trials"
    except WebSocketDisconnect:
        return False


@pytest.mark.parametrize(
    "host",
    ["localhost:8501", "127.0.0.1:8501", "[::1]:8501", "LOCALHOST", "nb.example.org", "localhost"],
)
def test_own_names_are_served(host: str) -> None:
    client = _client("127.0.0.1", "nb.example.org")
    assert client.get("/front", headers={"host": host}).text == "a page"
    assert _streams(client, host, f"http://{host}") and _streams(client, host, None)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8501", "localhost.evil.example", "127.0.0.1.nip.io",
             "127.0.0.2", "[::2]", "", "user@evil.example", "localhost@evil.example", "[x"],
)  # fmt: skip
def test_foreign_names_are_refused(host: str) -> None:
    client = _client("localhost")
    assert client.get("/", headers={"host": host}).status_code == 403
    assert not _streams(client, host, None)
    assert not _streams(client, "localhost:8501", f"http://{host}")
    assert not _streams(client, "localhost:8501", "null")


def test_a_server_with_a_password_has_any_name() -> None:
    assert _client("0.0.0.0").get("/", headers={"host": "gpu7.example"}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_can_be_uploaded(host: str, method: str) -> None:
    path = "/_stcore/upload_file/session/file"
    headers = {"host": "localhost"}
    answer = _client(host).request(method, path, content=b"x" * 1000, headers=headers)
    assert answer.status_code == 405
    assert streamlit_options(host, 8501)["server.maxUploadSize"] == 1


def test_tables_have_no_download_but_ours() -> None:
    assert streamlit_options("localhost", 8501)["client.disableDataExport"] is True
    cells = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"]
    lines = _csv(pd.DataFrame({"reason": cells, "n": range(len(cells))}))().decode()
    assert lines.count("'") == len(cells)


@pytest.mark.parametrize("number", ["²", "9" * 5000, "1e400", "nan", "x", "-3", "१"])
@pytest.mark.parametrize("page", ["trial", "front", "export"])
def test_odd_numbers_in_the_url_are_no_trial(opened: str, page: str, number: str) -> None:
    app = visit(page, study="complete", **{"choice" if page == "export" else "trial": number})
    assert app.title
    assert len(words(app)) < 20_000
