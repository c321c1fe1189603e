"""What requests and answers of the service contain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from autotune.domain import Columns
from autotune.errors import AutotuneError, Mistake, SpecError, UsageError
from autotune.spec.overrides import FILE
from autotune.store.submissions import Submission, SubmissionState

Record = dict[str, Any]
"""A document of the commands with ``--json``."""

Text = Annotated[str, Field(max_length=1_000_000)]
"""Text that UTF-8 can express: pydantic checks that of texts with a limit."""

Row = dict[Text, Text | list[Text]]
MAX_ROWS = 256
"""Rows of one request of predictions."""

Setting = Annotated[str, Field(max_length=10_000, examples=["budget.trials=20"])]
Priority = Annotated[int, Field(ge=-100, le=100)]


class InvalidRequest(UsageError):
    """A part of a request is malformed, whatever the state of the service is."""


class TooLarge(UsageError):
    """The body of a request is too large."""


class Document(BaseModel):
    """Base of all documents: unknown keys are a mistake."""

    model_config = ConfigDict(extra="forbid")


class MistakeDocument(Document):
    """A mistake and its place, counted from 1: in the study file, or in ``file``, such as
    ``--set``, where ``line`` is the number of the setting."""

    file: str | None = None
    line: int
    column: int
    message: str

    @classmethod
    def from_mistake(cls, mistake: Mistake) -> Self:
        file = FILE if mistake.file == FILE else None
        return cls(file=file, line=mistake.line, column=mistake.column, message=mistake.message)


class ErrorDocument(Document):
    """Why a request was refused, and what to do about it."""

    error: str
    hint: str | None = None
    mistakes: Sequence[MistakeDocument] = ()

    @classmethod
    def from_error(cls, error: AutotuneError) -> Self:
        mistakes = error.mistakes if isinstance(error, SpecError) else ()
        return cls(
            error=error.message,
            hint=error.hint,
            mistakes=[MistakeDocument.from_mistake(mistake) for mistake in mistakes],
        )


class ValidationDocument(Document):
    """Whether a study file can be searched, or all its mistakes."""

    valid: bool
    study: str | None = None
    mistakes: Sequence[MistakeDocument] = ()


class SubmissionDocument(Document):
    """A study in the queue. ``trials`` counts its trials by state."""

    study: str
    owner: str | None
    state: SubmissionState | None
    priority: int
    minutes: float | None
    used_minutes: float
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    stop_requested: bool
    reason: str | None
    settings: Sequence[str]
    trials: Mapping[str, int]

    @classmethod
    def from_submission(cls, submission: Submission, trials: Mapping[str, int]) -> Self:
        names = cls.model_fields.keys() & {field.name for field in fields(submission)}
        return cls(**{name: getattr(submission, name) for name in names}, trials=trials)

    @classmethod
    def from_stored_study(cls, study: str, trials: Mapping[str, int]) -> Self:
        """A study that was searched without the service."""
        empty = dict.fromkeys(cls.model_fields)
        return cls(**{**empty, "study": study, "trials": trials, "priority": 0, "settings": [],
                      "used_minutes": 0.0, "stop_requested": False})  # fmt: skip


class StudyDocument(Document):
    """``status`` is the document of ``autotune status --json``; ``null`` before the search has
    stored the study."""

    submission: SubmissionDocument
    status: Record | None


class StudyList(Document):
    """A part of all studies, the latest first. ``total`` counts all."""

    total: int
    studies: Sequence[SubmissionDocument]


class ResumeRequest(Document):
    """``settings`` replace values of the study file: ``{"budget.trials": 50}``."""

    settings: dict[Text, Any] = {}


class PredictionRequest(Document):
    """``rows`` are like ``{"text": "..."}``, or have the columns of the study's data."""

    rows: Annotated[Sequence[Row], Field(min_length=1, max_length=MAX_ROWS)]
    trial: Annotated[str, Field(max_length=500)] = "knee"

    def require_texts(self, columns: Columns) -> None:
        """Check that every row has a text, and a second one if the task has pairs.

        :raises InvalidRequest: with the number of the first row that has none.
        """
        keys = {columns.text: {columns.text, "text", "tokens"}}
        if columns.text_pair is not None:
            keys[columns.text_pair] = {columns.text_pair, "text_pair"}
        for number, row in enumerate(self.rows, 1):
            for column, names in keys.items():
                if not any("".join(row[name]).strip() for name in names & row.keys()):
                    raise InvalidRequest(
                        f"row {number} has no {column}",
                        hint=f'each row is like {{"{column}": "..."}}',
                    )


class PredictionDocument(Document):
    """The trial whose model predicted, and a prediction for each row."""

    trial: int
    predictions: Sequence[Record]


class SnapshotDocument(Document):
    """A study with all its trials, from which every table and figure follows."""

    study: Record
    spec: Record
    trials: Sequence[Record]
    environment: Record


class FileDocument(Document):
    """An uploaded file; ``size`` in bytes."""

    name: str
    size: int


class TokenDocument(Document):
    """Whose token this is. ``minutes`` is its limit, ``used_minutes`` what is used of it."""

    name: str
    role: str
    minutes: float | None
    used_minutes: float


class StateDocument(Document):
    """Whether the service can answer."""

    status: str
    version: str
    schema_revision: str | None = None
    workers: int = 0


class AuditDocument(Document):
    """An entry of the audit log."""

    at: datetime
    actor: str
    address: str
    action: str
    status: int


class WebhookRequest(Document):
    """An address to call. ``events`` are names of events; all without any."""

    url: Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=2000)]
    events: Sequence[str] = ()


class WebhookDocument(Document):
    """A webhook. ``secret`` is there once, when it is created."""

    id: int
    url: str
    events: Sequence[str]
    secret: str | None = None
