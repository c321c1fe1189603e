"""Tokens, roles, rates and the audit log."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from autotune.errors import ExecutionError, NotFoundError, UsageError
from autotune.service.access import RateLimit, is_loopback
from autotune.service.app import create_app
from autotune.service.server import prepare, require_free_port
from autotune.store import open_store
from autotune.store.access import AccessTokens, Role
from tests.service.conftest import STUDY, Service, make_config, running_service

PATHS = ("/health", "/ready", "/metrics", "/openapi.json", "/v1/studies", "/v1/hardware",
         "/v1/files", "/no-such-page")  # fmt: skip


def test_nothing_is_open_without_a_token(service: Service) -> None:
    with service.http(None) as http:
        for path in PATHS:
            answer = http.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        wrong = {"Authorization": "Bearer autotune_wrong"}
        assert http.get("/health", headers=wrong).status_code == 401
        assert http.post("/v1/studies", content=STUDY).status_code == 401


def test_roles(service: Service) -> None:
    with service.http(Role.READ) as reader, service.http(Role.SUBMIT) as submitter:
        assert reader.get("/v1/studies").status_code == 200
        assert reader.post("/v1/studies", content=STUDY).status_code == 403
        assert reader.put("/v1/files/a.csv", content=b"x").status_code == 403
        assert submitter.get("/v1/audit").status_code == 403
        assert submitter.get("/v1/webhooks").status_code == 403
        refused = submitter.delete("/v1/studies/small")
        assert refused.status_code == 403, "it is not the user's own"
        assert "belongs to nobody" in refused.json()["error"]
    with service.http(Role.ADMIN) as admin:
        actions = [(e["actor"], e["action"], e["status"]) for e in admin.get("/v1/audit").json()]
    assert ("read", "POST /v1/studies", 403) in actions
    assert ("submit", "GET /v1/audit", 403) in actions
    assert ("read", "GET /v1/studies", 200) not in actions, "reading is not recorded"


def test_tokens(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/autotune.db"
    open_store(url).close()
    tokens = AccessTokens(url)
    secret = tokens.create("me", Role.SUBMIT, minutes=90.0)
    assert secret.encode() not in (tmp_path / "autotune.db").read_bytes()
    verified = tokens.verify(secret)
    assert verified is not None and (verified.name, verified.minutes) == ("me", 90.0)
    with pytest.raises(UsageError, match="already"):
        tokens.create("me", Role.READ)
    with pytest.raises(UsageError, match="cannot be named"):
        tokens.create("../me", Role.READ)
    tokens.revoke("me")
    assert tokens.verify(secret) is None
    with pytest.raises(NotFoundError):
        tokens.revoke("me")
    assert tokens.create("me", Role.READ) != secret
    tokens.close()


def test_requests_above_the_rate_are_refused(tmp_path: Path) -> None:
    config = make_config(tmp_path, burst=3, requests_per_second=0.0)
    with running_service(config) as service, service.http() as http:
        statuses = [http.get("/health").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        with service.http(Role.READ) as other:
            assert other.get("/health").status_code == 200, "each token has its own rate"


def test_guesses_of_tokens_are_slowed_down(service: Service) -> None:
    limit = RateLimit(0.0, 2)
    assert [limit.take("address") for _ in range(3)] == [True, True, False]
    assert limit.take("other address")


def test_a_service_without_tokens_answers_this_machine_only(tmp_path: Path) -> None:
    app = create_app(make_config(tmp_path, is_open=True))
    with TestClient(app) as http:
        assert http.get("/v1/me").json()["role"] == "admin"
        assert http.get("/health", headers={"Host": "evil.example"}).status_code == 403
        foreign = {"Origin": "https://evil.example"}
        assert http.post("/v1/studies", content=STUDY, headers=foreign).status_code == 403


def test_a_service_that_would_be_open_to_others_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would open the service"):
        prepare(make_config(tmp_path, is_open=True), "0.0.0.0")
    with pytest.raises(UsageError, match="no token"):
        prepare(make_config(tmp_path), "127.0.0.1")
    assert is_loopback("127.0.0.1") and is_loopback("::1") and not is_loopback("10.0.0.1")


def test_a_port_in_use_is_said_before_anything_starts() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ExecutionError, match=f"cannot listen on 127.0.0.1 port {port}"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", 0)


def test_errors_have_one_form(service: Service) -> None:
    with service.http() as http:
        answers: list[httpx.Response] = [
            http.get("/no-such-page"),
            http.patch("/v1/studies"),
            http.get("/v1/studies/none"),
            http.get("/v1/studies?limit=many"),
            http.post("/v1/studies", content=b"\xff\xfe"),
        ]
        assert http.post("/v1/studies", content=b"x" * 2_000_000).status_code == 413
    assert [answer.status_code for answer in answers] == [404, 405, 404, 422, 422]
    assert all({"error", "hint", "mistakes"} == answer.json().keys() for answer in answers)
