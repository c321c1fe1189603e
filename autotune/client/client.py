"""The client of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

import httpx

from autotune.analysis.snapshot import Snapshot
from autotune.client.archive import unpack
from autotune.client.errors import ACCESS_HINT, error_of, unreachable
from autotune.domain import CurvePoint, Trial
from autotune.domain.text import mask_passwords
from autotune.errors import AutotuneError, UsageError
from autotune.spec.overrides import apply
from autotune.spec.yaml import read, write
from autotune.store import codec

EXAMPLE = "http://localhost:8700"
"""An address of a service."""

TIMEOUT_SECONDS = 60.0
RECONNECTS = 20
"""How often in a row :meth:`Client.watch` connects again without an event in between."""

RECONNECT_SECONDS = 1.0

ROWS_PER_REQUEST = 256
"""Rows that the service predicts in one request, at most."""

TEXT = "<study>"
"""The file name in mistakes of a study that is no file."""

Record = dict[str, Any]


class StudyText(Protocol):
    """A study that can be written as YAML, such as :class:`autotune.Study`."""

    @property
    def text(self) -> str: ...


@dataclass(frozen=True)
class StudyEvent:
    """An event of :meth:`Client.watch`: ``state``, ``trial`` or ``end``, with its document."""

    name: str
    data: Record


class Client:
    """A service at ``url``. ``token`` is by default that of the variable ``AUTOTUNE_TOKEN``.

    ::

        client = autotune.Client("http://localhost:8700", token)
        client.upload("train.jsonl")
        name = client.submit("study.yaml")
        client.wait(name)
        print(client.front(name))

    Every method raises an :class:`~autotune.errors.AutotuneError` with the message of the service.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{mask_passwords(url)!r} is no address", hint=EXAMPLE)
        secret = (token or environ.get("AUTOTUNE_TOKEN") or "").strip()
        if not (secret.isascii() and secret.isprintable()):
            raise UsageError("the token has characters that no token has", hint=ACCESS_HINT)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        url = url.rstrip("/")
        self.url = mask_passwords(url)
        try:
            self._http = httpx.Client(
                base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, transport=transport
            )
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            raise UsageError(
                f"{self.url} cannot be used: {mask_passwords(str(error))}",
                hint=f"{EXAMPLE}; and look at the variables HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._http.close()

    # ----------------------------------------------------------------------------- studies

    def validate(
        self, study: StudyText | Mapping[str, Any] | str | Path, settings: Sequence[str] = ()
    ) -> str:
        """Check a study without storing anything; returns its name.

        :raises SpecError: with all mistakes and their places.
        """
        text, file = study_text(study)
        answer = self._request("POST", "/v1/validation", content=text, params={"set": settings})
        document = answer.json()
        if not document["valid"]:
            raise error_of(answer, file)
        return str(document["study"])

    def submit(
        self,
        study: StudyText | Mapping[str, Any] | str | Path,
        *,
        settings: Sequence[str] = (),
        priority: int = 0,
    ) -> str:
        """Submit a study: a study, a document, or the path of a file. Returns its name. Data files
        are uploaded with :meth:`upload` before. ``settings`` are texts as those of ``--set``.

        :raises SpecError: with all mistakes and their places.
        """
        text, file = study_text(study)
        params = {"set": settings, "priority": priority}
        answer = self._request("POST", "/v1/studies", file=file, content=text, params=params)
        return str(answer.json()["study"])

    def upload_data(
        self,
        study: StudyText | Mapping[str, Any] | str | Path,
        *,
        settings: Sequence[str] = (),
    ) -> Sequence[str]:
        """Upload the files in the working directory that a study, with ``settings`` as for
        :meth:`submit`, names; returns their names."""
        document = read(study_text(study)[0], TEXT)
        apply(document, settings)
        names = [name for name in _file_names(document.data) if Path(name).is_file()]
        for name in names:
            self.upload(name, name)
        return names

    def studies(self) -> Sequence[Record]:
        """All studies, the latest first."""
        studies: list[Record] = []
        while True:
            params = {"limit": 500, "offset": len(studies)}
            page = self._request("GET", "/v1/studies", params=params).json()
            studies += page["studies"]
            if not page["studies"] or len(studies) >= page["total"]:
                return studies

    def study(self, name: str) -> Record:
        """A study: its place in the queue (``submission``) and its progress (``status``)."""
        return self._read(f"{_path(name)}")

    def watch(self, name: str) -> Iterator[StudyEvent]:
        """The events of a study as they happen, until it has ended. Connects again if the
        connection is lost."""
        cursor, failures = "0", 0
        while True:
            try:
                for event, position in self._events(name, cursor):
                    cursor, failures = position, 0
                    if event.name == "error":
                        raise AutotuneError(event.data["error"])
                    yield event
                    if event.name == "end":
                        return
            except httpx.TransportError as error:
                if failures >= RECONNECTS:
                    raise unreachable(self.url, error) from error
            failures += 1
            time.sleep(RECONNECT_SECONDS)

    def wait(self, name: str) -> Record:
        """Wait until a study has ended, and return it."""
        for _ in self.watch(name):
            pass
        return self.study(name)

    def stop(self, name: str) -> Record:
        """Stop a study; trials that run are finished first."""
        document: Record = self._request("POST", f"{_path(name)}/stop").json()
        return document

    def resume(self, name: str, settings: Mapping[str, Any] | None = None) -> Record:
        """Continue a study that has ended. ``settings`` replace values of its file."""
        body = {"settings": dict(settings or {})}
        document: Record = self._request("POST", f"{_path(name)}/resume", json=body).json()
        return document

    def delete(self, name: str) -> None:
        """Delete a study with all its trials."""
        self._request("DELETE", _path(name))

    # ----------------------------------------------------------------------------- results

    def trials(self, name: str) -> Sequence[Record]:
        """The trials of a study, like ``autotune trials --json``."""
        records: list[Record] = self._request("GET", f"{_path(name)}/trials").json()
        return records

    def front(self, name: str) -> Record:
        """The front of a study, like ``autotune pareto --json``."""
        return self._read(f"{_path(name)}/front")

    def recommendation(self, name: str, pick: str = "knee") -> Record:
        """The trial to use, and why."""
        return self._read(f"{_path(name)}/recommendation", {"pick": pick})

    def snapshot(self, name: str) -> Snapshot:
        """The study and its trials as objects, from which all tables and figures follow."""
        document = self._read(f"{_path(name)}/snapshot")
        study = codec.study_from(document["study"], document["spec"])
        return Snapshot(study, [codec.trial_from_document(trial) for trial in document["trials"]])

    def curves(self, name: str) -> Mapping[int, Sequence[CurvePoint]]:
        """The learning curves of a study by trial number."""
        curves = self._read(f"{_path(name)}/curves")
        return {
            int(number): [codec.point_from_document(point) for point in points]
            for number, points in curves.items()
        }

    def environment(self, name: str) -> Record:
        """The hardware and software that a study ran on."""
        environment: Record = self._read(f"{_path(name)}/snapshot")["environment"]
        return environment

    def trial(self, name: str, number: int) -> Trial:
        """One trial with its complete result."""
        return codec.trial_from_document(self._read(f"{_path(name)}/snapshot/{number}"))

    def export(
        self,
        name: str,
        output: str | Path = "out",
        *,
        trial: str = "knee",
        to: str = "hf-trainer",
        allow_partial: bool = False,
        all_rows: bool = False,
        overwrite: bool = False,
    ) -> Sequence[Path]:
        """Write the strategy of a trial as a folder that a trainer runs; returns its files."""
        params = {"trial": trial, "to": to, "allow_partial": allow_partial, "all_rows": all_rows}
        answer = self._request("GET", f"{_path(name)}/export", params=params, timeout=600.0)
        return unpack(answer.content, Path(output), overwrite=overwrite)

    def predict(
        self, name: str, rows: Sequence[Mapping[str, Any]], *, trial: str = "knee"
    ) -> Sequence[Record]:
        """The prediction of a trial's trained model for each of ``rows``, which are like
        ``{"text": "..."}``; values other than texts are not sent. The model has to be kept on the
        service."""
        predictions: list[Record] = []
        for start in range(0, len(rows), ROWS_PER_REQUEST):
            batch = [_texts_of(row) for row in rows[start : start + ROWS_PER_REQUEST]]
            body = {"rows": batch, "trial": trial}
            answer = self._request("POST", f"{_path(name)}/predictions", json=body, timeout=600.0)
            predictions += answer.json()["predictions"]
        return predictions

    def report(self, name: str, path: str | Path, file_format: str = "html") -> Path:
        """Write a study as one page: ``html`` or ``md``."""
        answer = self._request("GET", f"{_path(name)}/report", params={"format": file_format})
        target = Path(path)
        target.write_bytes(answer.content)
        return target

    # ----------------------------------------------------------------------------- service

    def upload(self, path: str | Path, name: str | None = None) -> str:
        """Upload a file; returns the name by which study files refer to it."""
        source = Path(path)
        target = name or source.name
        with source.open("rb") as file:
            self._request("PUT", f"/v1/files/{quote(target)}", content=file, timeout=600.0)
        return target

    def files(self) -> Sequence[Record]:
        """The files that this user has uploaded."""
        files: list[Record] = self._request("GET", "/v1/files").json()
        return files

    def hardware(self) -> Record:
        """The hardware of the service."""
        return self._read("/v1/hardware")

    def whoami(self) -> Record:
        """The user and the role of the token."""
        return self._read("/v1/me")

    # ----------------------------------------------------------------------------- details

    def _read(self, path: str, params: Mapping[str, Any] | None = None) -> Record:
        document: Record = self._request("GET", path, params=dict(params or {})).json()
        return document

    def _request(
        self, method: str, path: str, *, file: str = TEXT, **options: Any
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        if not answer.is_success:
            raise error_of(answer, file)
        return answer

    def _events(self, name: str, cursor: str) -> Iterator[tuple[StudyEvent, str]]:
        """The events of one connection, each with the cursor after it."""
        with self._stream(f"{_path(name)}/events", {"Last-Event-ID": cursor}) as answer:
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                if line:
                    key, _, value = line.partition(":")
                    fields[key] = value.strip()
                elif "event" in fields:
                    cursor = fields.get("id", cursor)
                    yield StudyEvent(fields["event"], json.loads(fields["data"])), cursor
                    fields = {}

    @contextmanager
    def _stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        with self._http.stream("GET", path, headers=dict(headers)) as answer:
            if not answer.is_success:
                answer.read()
                raise error_of(answer, TEXT)
            yield answer


def study_text(study: StudyText | Mapping[str, Any] | str | Path) -> tuple[str, str]:
    """The text of a study, and the name of its file for messages."""
    if isinstance(study, str | Path):
        path = Path(study)
        try:
            return path.read_text(encoding="utf-8-sig"), str(study)
        except UnicodeDecodeError as error:
            raise UsageError(f"{study} is not UTF-8 text (byte {error.start})") from error
        except OSError as error:
            raise UsageError(f"{study} cannot be read: {error.strerror}") from error
    return (write(dict(study)) if isinstance(study, Mapping) else study.text), TEXT


def _file_names(data: Any) -> Iterator[str]:
    """The relative names of files in the sections of a study that name files."""
    sections = data if isinstance(data, dict) else {}
    task, executor = sections.get("task"), sections.get("executor")
    dataset = task.get("dataset") if isinstance(task, dict) else None
    names = list(dataset.values()) if isinstance(dataset, dict) and "hub" not in dataset else []
    names += [executor.get("landscape")] if isinstance(executor, dict) else []
    for name in names:
        if isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts:
            yield name


def _texts_of(row: Mapping[str, Any]) -> Record:
    """The values of ``row`` that are texts or lists of texts."""
    return {
        name: value
        for name, value in row.items()
        if all(isinstance(part, str) for part in (value if isinstance(value, list) else [value]))
    }


def _path(name: str) -> str:
    return f"/v1/studies/{quote(name, safe='')}"
