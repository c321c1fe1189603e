"""Converts domain objects to and from the values of database rows. Independent of the database.

JSON distinguishes ``True``, ``1``, ``1.0`` and ``"1"``, and so does every function here. JSON has
no NaN or infinity: these are stored as text. PostgreSQL rejects NUL in text; see :func:`text`.
Numbers of measurements become plain ``float`` and ``int``, because database drivers reject those of
NumPy.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from math import isfinite
from typing import Any

from pydantic import TypeAdapter

from autotune.domain import (
    Correctness,
    CurvePoint,
    Event,
    Measurement,
    SavedModel,
    SearchState,
    SearchStatus,
    Strategy,
    Study,
    Trial,
    TrialResult,
    digest,
)

Fields = dict[str, Any]
"""Column values by column name."""


@cache
def _study_adapter() -> TypeAdapter[Study]:
    return TypeAdapter(Study)


LATER_TASK_FIELDS = frozenset(
    {
        "stride",
        "labels",
        "class_weights",
        "loss",
        "collator",
        "metrics",
        "model_class",
        "code",
        "threshold",
        "evaluate_every",
        "best_metric",
        "teacher",
    }
)
"""Fields of a task that were added after the first release of the store; ``None`` by default."""


def study_fields(study: Study) -> Fields:
    """Columns of a study. The fingerprint covers the task, which defines what its results mean."""
    document = to_json(_study_adapter().dump_python(replace(study, spec={}), mode="json"))
    return {
        "name": study.name,
        "fingerprint": task_fingerprint(document["task"]),
        "study": document,
        "spec": to_json(study.spec),
    }


def task_fingerprint(task: Mapping[str, Any]) -> str:
    """Equal for tasks whose results mean the same. A field that came later and is not set is left
    out, so that studies of before it keep theirs."""
    return digest({k: v for k, v in task.items() if k not in LATER_TASK_FIELDS or v is not None})


def study_from(document: Mapping[str, Any], spec: Mapping[str, Any]) -> Study:
    return _study_adapter().validate_python({**document, "spec": spec})


def search_status_fields(status: SearchStatus) -> Fields:
    reason = None if status.reason is None else text(status.reason)
    return {"search_state": status.state, "search_reason": reason}


def search_status_from(state: str | None, reason: str | None) -> SearchStatus | None:
    return None if state is None else SearchStatus(SearchState(state), reason)


@cache
def _trial_adapter() -> TypeAdapter[Trial]:
    return TypeAdapter(Trial)


def trial_document(trial: Trial) -> Fields:
    """A trial with its complete result as strict JSON."""
    document: Fields = to_json(_trial_adapter().dump_python(trial, mode="json"))
    return document


def trial_from_document(document: Mapping[str, Any]) -> Trial:
    """The trial of a :func:`trial_document`."""
    return _trial_adapter().validate_python(document)


def point_from_document(document: Mapping[str, Any]) -> CurvePoint:
    """The point of a learning curve from its :func:`point_fields`."""
    metrics = {name: float(value) for name, value in document["metrics"].items()}
    loss = document["loss"]
    return CurvePoint(**{**document, "loss": None if loss is None else float(loss),
                         "metrics": metrics})  # fmt: skip


def environment_fields(environment: Mapping[str, Any]) -> Fields:
    """Columns of an environment; ``fingerprint`` and ``git_commit`` get columns of their own."""
    document = to_json(environment)
    columns = {key: document.get(key) for key in ("fingerprint", "git_commit")}
    return {"document": document, **{key: value and str(value) for key, value in columns.items()}}


def strategy_fields(strategy: Strategy) -> Fields:
    return {"strategy": dict(strategy.values), "strategy_key": strategy.key}


def measurement_fields(measurement: Measurement) -> Fields:
    low, high = (None, None) if measurement.ci95 is None else map(float, measurement.ci95)
    return {
        "name": measurement.name,
        "value": float(measurement.value),
        "unit": measurement.unit,
        "n": int(measurement.n),
        "ci_low": low,
        "ci_high": high,
        "source": measurement.source,
        "samples": to_json(numbers(measurement.samples)),
        "warmup": to_json(numbers(measurement.warmup)),
    }


def measurement_from(
    name: str,
    value: float,
    unit: str,
    n: int,
    ci_low: float | None,
    ci_high: float | None,
    source: int | None,
    samples: Iterable[Any] = (),
    warmup: Iterable[Any] = (),
) -> Measurement:
    """A measurement from its columns, in their order. Raw samples are optional."""
    ci95 = None if ci_low is None or ci_high is None else (ci_low, ci_high)
    return Measurement(name, value, unit, n, ci95, numbers(samples), numbers(warmup), source)


def point_fields(point: CurvePoint) -> Fields:
    return {
        "step": int(point.step),
        "total_steps": int(point.total_steps),
        "samples": int(point.samples),
        "seconds": float(point.seconds),
        "loss": None if point.loss is None else float(point.loss),
        "metrics": to_json({name: float(value) for name, value in point.metrics.items()}),
    }


def point_from(row: Any) -> CurvePoint:
    return CurvePoint(
        step=row.step,
        total_steps=row.total_steps,
        samples=row.samples,
        seconds=row.seconds,
        loss=row.loss,
        metrics={name: float(value) for name, value in row.metrics.items()},
    )


def event_fields(event: Event) -> Fields:
    return {"at": event.time, "kind": text(event.kind), "message": text(event.message)}


def event_from(row: Any) -> Event:
    return Event(time=row.at, kind=row.kind, message=row.message)


def timeline_from(points: Iterable[tuple[Any, Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(seconds), float(gib)) for seconds, gib in points)


def correctness_fields(correctness: Correctness) -> Fields:
    return {
        "split": correctness.split,
        "num_labels": int(correctness.num_labels),
        "hits": correctness.hits,
        "starts": correctness.starts,
    }


def correctness_from(split: str, num_labels: int, hits: str, starts: str | None) -> Correctness:
    """The correctness of a trial from its columns, in their order.

    :raises ValueError: the bits are not base64, or fewer than ``num_labels``.
    """
    for bits in (hits, starts):
        if bits is not None and 8 * len(base64.b64decode(bits, validate=True)) < num_labels:
            raise ValueError(f"fewer than {num_labels} bits")
    return Correctness(split, num_labels, hits, starts)


def model_fields(model: SavedModel) -> Fields:
    return {"digest": model.digest, "size_bytes": int(model.size_bytes)}


def model_from(digest: str, size_bytes: int) -> SavedModel:
    """The saved model of a trial from its columns, in their order."""
    return SavedModel(digest, size_bytes)


def result_fields(result: TrialResult) -> Fields:
    """The parts of a result that are columns of the trial itself."""
    log = None if result.log is None else text(result.log)
    return {"environment": to_json(result.environment), "log": log}


def numbers(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(map(float, values)) if values else ()


def text(value: str) -> str:
    """``value`` with NUL and lone surrogates, which databases reject, replaced visibly."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def to_json(document: Any) -> Any:
    """``document`` as strict JSON: mappings, lists, text, finite numbers, booleans, null.

    NaN and infinities become text that :class:`float` parses; other types become their ``str``.
    """
    if document is None or isinstance(document, bool | int):
        return document
    if isinstance(document, float):
        return document if isfinite(document) else str(document)
    if isinstance(document, Mapping):
        return {text(str(key)): to_json(value) for key, value in document.items()}
    if isinstance(document, list | tuple | set | frozenset):
        return [to_json(item) for item in document]
    return text(str(document))
