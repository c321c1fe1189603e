"""``--remote`` prints what the commands print of a local study."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from autotune.cli.app import app
from autotune.cli.options import SERVICE
from autotune.client import Client
from autotune.errors import AutotuneError, SpecError, UsageError
from autotune.export.verify import require_unchanged
from autotune.service import routes
from autotune.service.documents import MAX_ROWS
from autotune.store.access import Role
from tests.service.conftest import (
    STUDY,
    Service,
    make_config,
    running_service,
    write_landscape,
)

Run = Callable[..., str]


@pytest.fixture
def run(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command and returns what it prints to stdout."""
    monkeypatch.setenv("AUTOTUNE_TOKEN", service.tokens[Role.SUBMIT])
    monkeypatch.setenv("COLUMNS", "120")

    def run_command(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    yield run_command
    SERVICE.url = None


@pytest.mark.parametrize(
    "command",
    ["status small", "trials small", "pareto small", "show small 1", "studies", "diff small 0 1",
     "status small --json", "trials small --json", "pareto small --json", "show small 1 --json"],
)  # fmt: skip
def test_output_is_the_same(service: Service, run: Run, command: str) -> None:
    words = command.split()
    local = run(*words, "--storage", service.config.storage)
    assert run("--remote", service.url, *words) == local
    if "--json" in words:
        assert json.loads(local)


def test_export_is_the_same(service: Service, run: Run, tmp_path: Path) -> None:
    options = ["export", "small", "--to", "yaml", "--output"]
    run(*options, str(tmp_path / "local"), "--storage", service.config.storage)
    run("--remote", service.url, *options, str(tmp_path / "remote"))
    local, remote = (
        {path.name: path.read_bytes() for path in (tmp_path / side).rglob("*") if path.is_file()}
        for side in ("local", "remote")
    )
    assert local == remote and local
    own = tmp_path / "own" / "strategy.yaml"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(UsageError, match="not from an export"):
        run("--remote", service.url, *options, str(own.parent), "--force")
    assert own.read_text() == "mine"
    notes = tmp_path / "remote" / "notes.txt"
    notes.write_text("mine")
    (tmp_path / "remote" / "trained").mkdir()
    with pytest.raises(UsageError, match="results of a run"):
        run("--remote", service.url, *options, str(notes.parent))
    run("--remote", service.url, *options, str(notes.parent), "--force")
    assert notes.read_text() == "mine" and not (notes.parent / "trained").exists()
    require_unchanged(notes.parent)


def test_predictions_are_lines_of_json(
    service: Service, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = {"answer": ":fire: \u2028\x85", "score": 0.9}
    line = json.dumps(prediction) + "\n"
    monkeypatch.setattr(routes, "run_command", lambda *arguments: line)
    (tmp_path / "rows.jsonl").write_text('{"text": "who?"}\n')
    command = ("predict", "small", "--trial", "0", "--input", str(tmp_path / "rows.jsonl"))
    (text,) = run("--remote", service.url, *command).split("\n")[:-1]
    assert json.loads(text) == prediction


def test_rows_are_sent_in_parts_and_without_other_columns(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[Any] = []

    def answer(client: Client, method: str, path: str, **options: Any) -> Any:
        bodies.append(options["json"]["rows"])
        return SimpleNamespace(json=lambda: {"predictions": [{"label": "a"}] * len(bodies[-1])})

    monkeypatch.setattr(Client, "_request", answer)
    rows: list[dict[str, Any]] = [{"text": "a", "label": 1, "tags": ["x"], "n": None}] * 300
    with service.client() as client:
        assert len(client.predict("small", rows)) == 300
    assert list(map(len, bodies)) == [MAX_ROWS, 300 - MAX_ROWS]
    assert bodies[0][0] == {"text": "a", "tags": ["x"]}


def test_mistakes_of_settings_are_reported_at_the_setting(
    service: Service, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(STUDY.replace("study: hills", "study: other"))
    command = ("--remote", service.url, "search", str(path), "--set", "budget.trials=0")
    with pytest.raises(SpecError, match=r"^--set:1:15: budget\.trials"):
        run(*command)
    with pytest.raises(SpecError, match=r"--set:1:1: 'budget\.trials' is not of the form"):
        run("--remote", service.url, "resume", "small", "--set", "budget.trials")


def test_mistakes(service: Service, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="works on this machine only"):
        run("--remote", service.url, "validate", "study.yaml")
    with pytest.raises(UsageError, match="no meaning with --remote"):
        run("--remote", service.url, "search", "bert", "--storage", "sqlite:///x.db")
    with pytest.raises(UsageError, match="for studies of a service"):
        run("stop", "small")
    with pytest.raises(AutotuneError, match="cannot be reached"):
        run("--remote", "http://127.0.0.1:9", "status", "small")
    with pytest.raises(UsageError, match="is no address"):
        run("--remote", "localhost:8700", "status", "small")
    path = tmp_path / "small.yaml"
    path.write_text(STUDY.replace("study: hills", "study: small"))
    with pytest.raises(UsageError, match="study small of nobody exists already"):
        run("--remote", service.url, "search", str(path))
    path = tmp_path / "wrong.yaml"
    path.write_text(STUDY + "foo: 1\n")
    with pytest.raises(SpecError, match=r"wrong\.yaml:\d+:1: unknown key 'foo'"):
        run("--remote", service.url, "search", str(path))


@pytest.mark.parametrize("url", ["ftp://u:S3CRET@h", "http://u:S3CRET@h:port", "http://[::1"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(url, "token")
    assert "S3CRET" not in caught.value.message
    with Client("http://u:S3CRET@h:1/", "token") as client:
        assert client.url == "http://u:***@h:1"


@pytest.mark.parametrize("token", ["S3CRET\u00e9", "S3C\rRET", "\x1bS3CRET"])
def test_a_token_that_is_none_is_not_repeated(token: str) -> None:
    with pytest.raises(UsageError, match="characters that no token has") as caught:
        Client("http://h", token)
    assert "S3C" not in caught.value.message
    Client("http://h", "token\r\n").close()


def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://u:S3CRET@h")
    with pytest.raises(UsageError, match="cannot be used") as caught:
        Client("http://h", "token")
    assert "S3CRET" not in caught.value.message and "ALL_PROXY" in str(caught.value.hint)


def test_a_wrong_token(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_TOKEN", "autotune_wrong")
    with pytest.raises(UsageError, match="a valid token is needed") as caught:
        run("--remote", service.url, "status", "small")
    assert "AUTOTUNE_TOKEN" in str(caught.value.hint)


@pytest.mark.timeout(600)
def test_search(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_landscape(tmp_path)
    Path("hills.yaml").write_text(STUDY)
    (tmp_path / "server").mkdir()
    with running_service(make_config(tmp_path / "server", workers=1)) as service:
        monkeypatch.setenv("AUTOTUNE_TOKEN", service.tokens[Role.SUBMIT])
        front = run("--remote", service.url, "search", "hills.yaml", "--set", "budget.trials=3")
        assert "Pareto front of hills" in front
        assert f"autotune --remote {service.url} export hills" in front
        assert len(json.loads(run("--remote", service.url, "trials", "hills", "--json"))) >= 3
        with service.client(Role.ADMIN) as client:
            assert client.study("hills")["submission"]["owner"] == "submit"
