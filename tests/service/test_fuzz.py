"""Malformed requests, made from the description of the routes: no error of the server, and no
change of what is stored."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from autotune.store.access import Role
from tests.service.conftest import Service, make_config, running_service, store_study

EXAMPLES = 3
"""Requests for each route; ``benchmarks/service.py fuzz`` sends thousands."""


def dump(service: Service) -> list[str]:
    """Everything that requests without a right could change."""
    import sqlite3

    path = service.config.storage.removeprefix("sqlite:///")
    tables = ("studies", "trials", "submissions", "access_tokens", "webhooks", "deliveries")
    connection = sqlite3.connect(path)
    rows = [repr(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return rows + [str(path) for path in sorted(service.config.folder.rglob("*.*"))]


@pytest.mark.timeout(600)
def test_malformed_requests(tmp_path: Path) -> None:
    assert fuzz(tmp_path, EXAMPLES) > 40


def fuzz(folder: Path, examples: int, seed: int = 0) -> int:
    """Send requests drawn with ``seed`` to a service in ``folder``; returns how many. Fails at the
    first error of the server, and if something has changed."""
    config = make_config(folder, burst=10**9, requests_per_second=1e9)
    store_study(config.storage)
    with running_service(config) as service:
        before = dump(service)
        count = send_requests(service, Role.READ, GenerationMode.POSITIVE, examples, seed)
        count += send_requests(service, Role.ADMIN, GenerationMode.NEGATIVE, examples, seed)
        assert dump(service) == before
    return count


def send_requests(
    service: Service, role: Role, mode: GenerationMode, examples: int, seed: int
) -> int:
    """Send requests of ``mode`` to every route with the token of ``role``; returns how many."""
    count = 0
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    headers = {"Authorization": f"Bearer {service.tokens[role]}"}
    with service.http(None) as http:
        for result in schema.get_all_operations():
            operation = result.ok()

            def send(case: Any) -> None:
                nonlocal count
                call = case.as_transport_kwargs(base_url=service.url)
                call = {key: call[key] for key in call if key != "cookies"}
                call["headers"] = {**dict(call.get("headers") or {}), **headers}
                answer = send_once(http, call)
                if answer is None:
                    return
                count += 1
                assert answer.status_code < 500, (call, answer.text)
                assert "Traceback" not in answer.text

            strategy = operation.as_strategy(generation_mode=mode)
            with suppress(Unsatisfiable):  # a route without parameters has no malformed request
                run_examples(strategy, send, examples, seed)
    return count


def send_once(http: Any, call: dict[str, Any]) -> Any:
    """The answer to a request; ``None`` if a client cannot send it at all."""
    import httpx

    try:
        return http.request(**call)
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError, ValueError, TypeError):
        return None


def run_examples(strategy: Any, send: Any, examples: int, seed: int) -> None:
    from hypothesis import given
    from hypothesis import seed as use_seed

    options = settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    use_seed(seed)(options(given(strategy)(send)))()
