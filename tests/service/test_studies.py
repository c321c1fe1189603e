"""Submitting, reading and changing studies through the client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import pytest

from autotune.domain import Columns
from autotune.errors import NotFoundError, SpecError, UsageError
from autotune.service import commands, routes, system_routes
from autotune.service.documents import InvalidRequest, PredictionRequest
from autotune.service.files import UserFolder
from autotune.spec.yaml import read
from autotune.store import open_store
from autotune.store.access import Role
from autotune.store.migrations import SchemaStatus
from tests.service.conftest import STUDY, Service, make_config, running_service
from tests.tuner.small_study import small_study

LAST_LINE = len(STUDY.splitlines()) + 1
"""The line of what is appended to the study."""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "hills.yaml"
    path.write_text(STUDY)
    return path


def test_submit_list_stop_resume_delete(service: Service, study_file: Path) -> None:
    with service.client() as client:
        assert client.submit(study_file, priority=3) == "hills"
        document = client.study("hills")
        assert document["status"] is None
        assert (document["submission"]["state"], document["submission"]["owner"]) == (
            "queued", "submit",
        )  # fmt: skip
        assert {s["study"] for s in client.studies()} == {"hills", "small"}
        assert client.whoami()["used_minutes"] == 30.0
        with pytest.raises(UsageError, match="exists already"):
            client.submit(study_file)
        with pytest.raises(NotFoundError, match="is queued and has no trials yet"):
            client.front("hills")
        assert client.stop("hills")["state"] == "stopped"
        events = list(client.watch("hills"))
        assert [event.name for event in events] == ["state", "end"]
        assert client.resume("hills", {"budget.trials": 2})["settings"] == ["budget.trials=2"]
        client.stop("hills")
        client.delete("hills")
        with pytest.raises(NotFoundError):
            client.study("hills")


def test_mistakes_are_those_of_the_file(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(STUDY.replace("batch_size: [8, 16, 32]", "batch_size: [8, soon]") + "foo: 1\n")
    for call in ("validate", "submit"):
        with service.client() as client, pytest.raises(SpecError) as caught:
            getattr(client, call)(path)
        places = [(m.file, m.line, m.column) for m in caught.value.mistakes]
        assert places == [(str(path), 5, 19), (str(path), LAST_LINE, 1)]


FORBIDDEN = {
    "plugins: [/tmp/evil.py]": "plug-ins are code",
    "task: {loss: 'evil:loss'}": "functions are code",
    "task: {collator: 'evil:change'}": "functions are code",
    "task: {metrics: ['evil:score']}": "functions are code",
    "task: {model_class: 'evil:Model'}": "functions are code",
    "storage: sqlite:////etc/x.db": "storage of its own",
    "task: {dataset: {train: /etc/passwd}}": "path of the server",
    "task: {dataset: {train: ../other/train.jsonl}}": "path of the server",
    "task: {model: ~/models/x, dataset: {train: t.csv}}": "path of the server",
    "task: {dataset: {train: missing.jsonl}}": "was not uploaded",
    "executor: {kind: ray, address: evil:6379}": "address of the cluster",
    "executor: {kind: replay, landscape: /etc/passwd}": "path of the server",
}


@pytest.mark.parametrize("section", FORBIDDEN)
def test_a_client_can_name_nothing_on_the_server(service: Service, section: str) -> None:
    lines = [line for line in STUDY.splitlines() if line.split(":")[0] != section.split(":")[0]]
    lines = [line for line in lines if not line.startswith("executor")]
    with service.http() as http:
        answer = http.post("/v1/validation", content="\n".join([section, *lines]))
    document = answer.json()
    assert not document["valid"]
    assert any(
        FORBIDDEN[section] in mistake["message"] and mistake["line"] == 1
        for mistake in document["mistakes"]
    ), document


def test_settings_cannot_name_what_the_file_cannot(service: Service, study_file: Path) -> None:
    with service.client() as client, pytest.raises(SpecError, match="plug-ins are code"):
        client.submit(study_file, settings=["plugins=[evil.py]"])


def test_checks_use_the_executor_of_the_instance(tmp_path: Path) -> None:
    config = make_config(tmp_path, executor="local")
    with (
        running_service(config) as service,
        service.client() as client,
        pytest.raises(SpecError, match="the local executor has none"),
    ):
        client.validate(read(STUDY, "").data)


@pytest.mark.parametrize(
    "name",
    ["../a.csv", "a/../../b.csv", "/etc/a.csv", ".hidden.csv", "a.py", "a b.csv", "a//b.csv",
     "a/b/c/d/e.csv", "x" * 300 + ".csv", "..%2fa.csv", "a%00.csv"],
)  # fmt: skip
def test_uploads_stay_in_their_folder(service: Service, name: str) -> None:
    before = sorted(service.config.folder.parent.rglob("*"))
    with service.http() as http:
        answer = http.put(f"/v1/files/{name}", content=b"x")
    assert answer.status_code in (404, 422), answer.text
    assert sorted(service.config.folder.parent.rglob("*")) == before


def test_files_belong_to_their_user(service: Service) -> None:
    with service.client() as client, service.client(Role.ADMIN) as admin:
        client.upload(__file__, "data/mine.txt")
        assert {f["name"] for f in client.files()} >= {"data/mine.txt", "hills.parquet"}
        assert admin.files() == []


def test_data_that_settings_name_is_uploaded_too(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dev.csv").write_text("text,label\na,b\n", encoding="utf-8")
    with service.client() as client:
        settings = ["task.dataset.train=absent.csv", "task.dataset.validation=dev.csv"]
        assert client.upload_data({"study": "named"}, settings=settings) == ["dev.csv"]


@pytest.mark.parametrize("query", ["recommendation?pick=quickest", "export?trial=quickest"])
def test_a_query_that_is_malformed_is_a_mistake(service: Service, query: str) -> None:
    with service.http() as http:
        answer = http.get(f"/v1/studies/small/{query}")
    assert answer.status_code == 422 and "cannot choose" in answer.text


def test_large_files_can_be_uploaded(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_bytes(b"text,label\n" * 300_000)
    with service.client() as client:
        client.upload(path)
        sizes = {file["name"]: file["size"] for file in client.files()}
    assert sizes["large.csv"] == path.stat().st_size > 2**20


def test_uploads_are_bounded(service: Service, tmp_path: Path) -> None:
    folder = service.config.folder / "files" / "submit"

    async def chunks():  # type: ignore[no-untyped-def]
        yield b"x" * 100
        await asyncio.sleep(0)
        yield b"x" * 100

    with pytest.raises(UsageError, match="150 bytes at most"):
        asyncio.run(UserFolder(folder).write("big.csv", chunks(), max_bytes=150, max_total=10**9))
    with pytest.raises(UsageError, match="files of a user"):
        asyncio.run(UserFolder(folder).write("big.csv", chunks(), max_bytes=500, max_total=150))
    assert not (folder / "big.csv").exists()

    async def upload_both() -> list[object]:
        target = UserFolder(tmp_path)
        limits = {"max_bytes": 500, "max_total": 300}
        uploads = [target.write(name, chunks(), **limits) for name in ("a.csv", "b.csv")]
        return await asyncio.gather(*uploads, return_exceptions=True)

    assert [isinstance(end, UsageError) for end in asyncio.run(upload_both())] == [False, True]
    assert not list(folder.glob(".upload-*"))


def test_results_are_those_of_the_store(service: Service) -> None:
    store = open_store(service.config.storage, read_only=True)
    with service.client(Role.READ) as client:
        snapshot = client.snapshot("small")
        assert snapshot.study == small_study()
        assert list(snapshot.trials) == list(store.trials("small"))
        assert client.trial("small", 1) == store.trial("small", 1)
        assert client.curves("small") == store.curves("small")
        assert client.environment("small") == store.environment("small")
        assert [t["number"] for t in client.trials("small")] == [0, 1]
        assert client.front("small")["knee"] == client.recommendation("small")["trial"]["number"]
        assert client.study("small")["status"]["trials"]["complete"] == 2
        with pytest.raises(NotFoundError, match="no trial 9"):
            client.trial("small", 9)
    store.close()


def test_predictions(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run_command(config: object, owner: object, arguments: list[str], text: str) -> str:
        calls.append((arguments, [json.loads(line) for line in text.splitlines()]))
        return '{"label": "good\u2028", "score": 0.9}\n'

    monkeypatch.setattr(routes, "run_command", run_command)
    rows = [{"text": "works\nwell"}]
    with service.client(Role.READ) as client:
        assert client.predict("small", rows, trial="0") == [{"label": "good\u2028", "score": 0.9}]
        assert calls == [(["predict", "small", "--trial=0", "--input=-"], rows)]
        with pytest.raises(UsageError, match="row 1 has no text"):
            client.predict("small", [{"text": 3}])
        with pytest.raises(NotFoundError):
            client.predict("missing", rows)
        for row in ({}, {"text": " "}, {"words": "works well"}):
            with pytest.raises(UsageError, match="row 2 has no text"):
                client.predict("small", [*rows, row])
    with service.http() as http:
        for wrong in ([{"words": "works well"}], [{"text": 3}], rows * 257):
            answer = http.post("/v1/studies/small/predictions", json={"rows": wrong})
            assert answer.status_code == 422
            assert "rows" in answer.text or "row 1 has no text" in answer.text
    assert len(calls) == 1


def test_texts_of_pairs_and_of_words() -> None:
    pairs = Columns(text="question", text_pair="context")
    PredictionRequest(
        rows=[{"question": "who?", "context": "me"}, {"text": "who?", "text_pair": "me"}]
    ).require_texts(pairs)
    with pytest.raises(InvalidRequest, match="row 1 has no context"):
        PredictionRequest(rows=[{"question": "who?"}]).require_texts(pairs)
    words = PredictionRequest(rows=[{"tokens": ["who", "?"]}, {"words": ["me"]}])
    words.require_texts(Columns(text="words"))
    with pytest.raises(InvalidRequest, match="row 1 has no words"):
        PredictionRequest(rows=[{"words": []}]).require_texts(Columns(text="words"))


@pytest.mark.parametrize(
    ("path", "body"),
    [("hills/resume", r'{"settings": {"a\ud800": 1}}'),
     ("small/predictions", r'{"rows": [{"text": "\ud800"}]}'),
     ("small/predictions", r'{"rows": [{"text": "a", "a\ud800": ["b"]}]}')],
)  # fmt: skip
def test_texts_that_utf_8_cannot_express(service: Service, path: str, body: str) -> None:
    with service.http() as http:
        headers = {"Content-Type": "application/json"}
        answer = http.post(f"/v1/studies/{path}", content=body, headers=headers)
    assert answer.status_code == 422, answer.text


def test_commands_wait_in_a_short_queue(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    full = BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(commands, "_requests", full)
    with service.http() as http:
        body = {"rows": [{"text": "works well"}]}
        answer = http.post("/v1/studies/small/predictions", json=body)
        assert answer.status_code == 503 and "wait" in answer.json()["error"]


def test_report(service: Service, tmp_path: Path) -> None:
    with service.client(Role.READ) as client:
        page = client.report("small", tmp_path / "small.md", "md").read_text()
    assert "small" in page


def test_metrics(service: Service) -> None:
    with service.http() as http:
        text = http.get("/metrics").text
    assert 'autotune_trials{state="complete"} 2.0' in text
    assert "autotune_store_seconds" in text and "process_resident_memory_bytes" in text


def test_an_outdated_schema_is_not_ready(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with service.http() as http:
        assert http.get("/ready").json()["status"] == "current"
        monkeypatch.setattr(
            system_routes, "check", lambda url: SchemaStatus("0001", "0002", "outdated")
        )
        answer = http.get("/ready")
    assert answer.status_code == 503 and "outdated" in answer.json()["error"]


def test_a_file_that_is_too_large_is_refused_by_its_size(tmp_path: Path) -> None:
    config = make_config(tmp_path, max_file_bytes=10, max_user_bytes=15)
    with running_service(config) as service, service.http() as http:
        assert http.put("/v1/files/a.csv", content=b"x" * 11).status_code == 413
        assert http.put("/v1/files/a.csv", content=b"x" * 10).status_code == 200
        assert http.put("/v1/files/b.csv", content=b"x" * 10).status_code == 409
        assert http.put("/v1/files/a.py", content=b"x").status_code == 422


def test_an_upload_that_breaks_off_leaves_nothing(service: Service) -> None:
    folder = service.config.folder / "files" / "submit"
    before = sorted(folder.rglob("*"))
    messages = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]
    statuses = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PUT",
        "path": "/v1/files/half.csv", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"authorization", f"Bearer {service.tokens[Role.SUBMIT]}".encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(service.app(scope, receive, send))
    assert statuses[0] == 400
    assert sorted(folder.rglob("*")) == before
