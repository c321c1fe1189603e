"""The result of a trial: measurements, curves, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """A value with its unit and the raw samples it was derived from.

    ``n`` is the number of observations (windows timed, samples evaluated). ``ci95`` is the 95%
    interval; ``None`` if a single run cannot give one. ``samples`` are steady-state raw values in
    ``unit``; ``warmup`` are those before, which do not count. Those of a score of a confirmation
    are the contributions of the examples, in their order: numbers whose mean is the score.
    ``source`` is the number of the trial that measured a cached value; ``None`` if this trial did.
    """

    name: str
    value: float
    unit: str
    n: int = 1
    ci95: tuple[float, float] | None = None
    samples: tuple[float, ...] = ()
    warmup: tuple[float, ...] = ()
    source: int | None = None


@dataclass(frozen=True)
class Correctness:
    """Which labels of a split a trained model predicted correctly.

    ``split`` is a digest of the examples and labels: results for equal splits can be compared label
    by label. ``hits`` are ``num_labels`` bits in the order of the split, 1 for a correct label:
    packed, the first one in the highest bit of the first byte, and written in base64. ``starts``
    are as many bits, 1 for the first label of each example; ``None`` if each has one label.
    """

    split: str
    num_labels: int
    hits: str
    starts: str | None = None


@dataclass(frozen=True)
class SavedModel:
    """The trained model in the folder of a trial: a digest of its files, and their size."""

    digest: str
    size_bytes: int


@dataclass(frozen=True)
class CurvePoint:
    """Progress of a running trial.

    ``loss`` is the mean training loss since the last point. ``metrics`` are validation scores if
    the trial was evaluated at this point; such a point is a rung, at which it can be stopped.
    """

    step: int
    total_steps: int
    samples: int
    seconds: float
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something that happened in a trial, such as the start of a phase or the use of a fallback."""

    time: datetime
    kind: str
    message: str


CONCURRENT_TRIALS = "other_trials_on_host"
"""Key in the environment of a trial: how many trials ran concurrently on the host. Absent for an
isolated run."""

BEST_STEP = "best_step"
"""Key in the environment of a trial with ``task.evaluate_every``: the optimizer step after which
the evaluation was best. The scores of the trial are those of the weights of this step."""

THRESHOLD = "threshold"
"""Key in the environment of a trial with ``task.threshold: auto``: the threshold that was tuned on
the validation split."""

PAUSED_AT_STEP = "paused_at_step"
"""Key in the environment of a trial that was stopped early and left a checkpoint: its step."""

KILLED_BY = "killed_by"
"""Key in the environment of a trial: the signal from outside that ended its worker."""


@dataclass(frozen=True)
class TrialResult:
    """Everything that a trial recorded. ``memory`` are pairs (seconds, GiB). ``correctness`` is
    that of the evaluation at the end; ``None`` if the trial did not train. ``model`` is the trained
    model that is kept in the folder of the trial; ``None`` if there is none, or it was deleted."""

    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    memory: tuple[tuple[float, float], ...] = ()
    events: tuple[Event, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    log: str | None = None
    correctness: Correctness | None = None
    model: SavedModel | None = None
