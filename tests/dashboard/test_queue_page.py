"""The page of a dashboard that is given a service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from autotune.errors import AutotuneError, Mistake, SpecError
from dashboard import launch, login, settings
from dashboard.app import PAGES, pages_of

STUDY = {
    "study": "bert", "state": "running", "owner": "me", "trials": {"complete": 2},
    "submitted_at": "2026-01-01T00:00:00Z", "reason": None,
}  # fmt: skip


class FakeClient:
    """Records what the page asks of a service."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def studies(self) -> list[dict[str, Any]]:
        return [STUDY]

    def validate(self, study: Any) -> str:
        if "batch_size" not in study.text:
            raise SpecError([Mistake("<study>", 3, 7, "space: 'batch' is unknown")])
        return "bert"

    def submit(self, study: Any) -> str:
        self.calls.append(("submit", study.text))
        return "bert"


class TokenClient(FakeClient):
    """A service with one token."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        assert url == "http://service:8700"
        self.token = token

    def whoami(self) -> None:
        if self.token != "right":
            raise AutotuneError("a valid token is needed")

    def close(self) -> None:
        pass


@pytest.fixture
def client(tmp_path: Any) -> Iterator[FakeClient]:
    client = FakeClient()
    settings.configure(settings.Settings("sqlite:///none.db", service=client))  # type: ignore[arg-type]
    yield client
    settings._current = None


def visit() -> AppTest:
    app = AppTest.from_file(str(ROOT / "dashboard" / "main.py"), default_timeout=60)
    app._page_hash = calc_hash("queue")
    return app.run()


def test_a_study_file_is_checked_as_it_is_typed(client: FakeClient) -> None:
    app = visit()
    assert not app.exception and app.title[0].value == "Queue"
    assert list(app.dataframe[0].value["study"]) == ["bert"]
    assert list(app.dataframe[0].value["submitted"]) == ["2026-01-01 00:00 UTC"]
    app.text_area[0].set_value("space: {batch: 8}").run()
    assert "line 3, column 7" in app.error[0].value
    assert not app.button, "what has mistakes cannot be submitted"
    app.text_area[0].set_value("space: {batch_size: 8}").run()
    assert "is valid" in app.success[0].value
    app.button[0].click().run()
    assert client.calls == [("submit", "space: {batch_size: 8}")]


def test_a_token_of_the_service_is_the_login(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "Client", TokenClient)
    monkeypatch.setenv("AUTOTUNE_TOKEN", "that of the server")
    settings.configure(launch._settings("sqlite:///none.db", "0.0.0.0", "http://service:8700"))
    app = visit()
    assert not app.title and app.text_input[0].label == "Token of the service"
    for wrong in ("", "guess", "é\n"):
        app.text_input[0].set_value(wrong)
        app.button[0].click().run()
        assert "a valid token" in app.error[0].value and not app.title
    app.text_input[0].set_value("right")
    app.button[0].click().run()
    assert not app.exception and app.title[0].value == "Queue"


def test_a_dashboard_without_a_service_has_no_queue() -> None:
    assert pages_of(settings.Settings("sqlite:///none.db")) == PAGES
