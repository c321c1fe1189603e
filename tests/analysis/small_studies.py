"""Builds small studies and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from autotune.domain import (
    Categorical,
    Constraint,
    Dimension,
    Measurement,
    Objective,
    SearchSpace,
    State,
    Strategy,
    Study,
    Task,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.metrics import METRICS

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEED, ACCURACY, COST = "train_samples_per_second", "accuracy", "cost_usd"


def study(
    *metrics: str, constraints: Sequence[Constraint] = (), name: str = "tiny", **fields: Any
) -> Study:
    """A study with these objectives, in their better direction, over two levers."""
    objectives = tuple(Objective(m, METRICS[m].direction) for m in metrics or (SPEED, ACCURACY))
    space = SearchSpace(
        (
            Dimension("batch_size", Categorical((8, 16, 32))),
            Dimension("precision", Categorical(("fp32", "bf16"))),
        ),
        {"batch_size": 8, "precision": "fp32"},
    )
    return Study(name, Task(), objectives, space, tuple(constraints), **fields)


def trial(
    number: int,
    metrics: Mapping[str, float] | None = None,
    *,
    state: State = State.COMPLETE,
    values: Mapping[str, Any] | None = None,
    origin: str | None = None,
    **fields: Any,
) -> Trial:
    """Trial ``number``; trial 0 is the default configuration unless specified otherwise."""
    measurements = {
        name: Measurement(name, value, METRICS[name].unit)
        for name, value in (metrics or {}).items()
    }
    default = {"batch_size": 8, "precision": "fp32"}
    other = {"batch_size": 16, "precision": "bf16"}
    started_at = START + timedelta(seconds=60 * number)
    return Trial(
        number,
        state,
        Strategy(values or (default if number == 0 else other)),
        origin=origin or ("baseline" if number == 0 else TrialOrigin.SAMPLED),
        started_at=started_at if state is not State.QUEUED else None,
        finished_at=started_at + timedelta(seconds=50) if state.is_finished else None,
        result=TrialResult(measurements),
        **fields,
    )


def trials(*rows: Sequence[float], metrics: Sequence[str] = (SPEED, ACCURACY)) -> list[Trial]:
    """Complete trials 0, 1, ... with these values; trial 0 is the default, each of the others has
    a batch size of its own."""
    return [
        trial(
            n,
            dict(zip(metrics, row, strict=True)),
            values={"batch_size": 8 * (n + 1), "precision": "bf16"} if n else None,
        )
        for n, row in enumerate(rows)
    ]
