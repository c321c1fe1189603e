"""The frozen vocabulary of autotune: what every room talks about, and nothing else.

Everything here is immutable and depends on the standard library alone, so that the store, the
search, a worker on a bare GPU box and the dashboard can share it without sharing anything heavier.
Quantities carry their unit in the name; what was not measured is ``None``, never zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

Value = bool | int | float | str
"""One setting of one lever."""

Direction = Literal["maximize", "minimize"]


# --------------------------------------------------------------------------------- strategies


@dataclass(frozen=True)
class Strategy:
    """One complete setting of every lever: how a model is fine-tuned, never what is fine-tuned.

    ``values`` names each lever once. Levers that a condition switches off hold their default, so
    two strategies that would do the same work are equal and have the same :attr:`key`.
    """

    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", dict(sorted(self.values.items())))

    def __getitem__(self, lever: str) -> Value:
        return self.values[lever]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __hash__(self) -> int:
        return hash(self.key)

    def get(self, lever: str, default: Value) -> Value:
        """The setting of ``lever``, or ``default`` where an older strategy does not know it."""
        return self.values.get(lever, default)

    @property
    def key(self) -> str:
        """A short digest (16 hex digits) that is the same wherever the settings are the same."""
        return digest(dict(self.values))

    def with_values(self, **values: Value) -> Strategy:
        """This strategy with some levers set otherwise."""
        return Strategy({**self.values, **values})

    def differences(self, other: Strategy) -> dict[str, tuple[Value | None, Value | None]]:
        """Levers set differently, as ``{lever: (here, there)}``."""
        levers = sorted({*self.values, *other.values})
        pairs = {name: (self.values.get(name), other.values.get(name)) for name in levers}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def digest(document: Any) -> str:
    """16 hex digits of the SHA-256 of a JSON document in canonical form."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ------------------------------------------------------------------------------- search space


@dataclass(frozen=True)
class Choice:
    """A finite, ordered list of settings."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A numeric interval, ends included; ``step`` makes it a grid, ``log`` searches magnitudes."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    integer: bool = False


@dataclass(frozen=True)
class Dimension:
    """One lever that the search may move. ``when`` (an expression over levers named before it)
    says for which strategies it matters; otherwise the lever keeps its default."""

    lever: str
    domain: Choice | Range
    when: str | None = None


@dataclass(frozen=True)
class Rule:
    """A combination that is not offered: ``excludes`` is an expression that is true for it."""

    excludes: str
    reason: str


@dataclass(frozen=True)
class Space:
    """All strategies that a study may try: dimensions in order, and defaults for every lever."""

    dimensions: tuple[Dimension, ...]
    defaults: Mapping[str, Value]
    rules: tuple[Rule, ...] = ()


# --------------------------------------------------------------------------------------- task


@dataclass(frozen=True)
class Columns:
    """Names of the columns to read from the data set."""

    text: str = "text"
    text_pair: str | None = None
    label: str = "label"


@dataclass(frozen=True)
class Task:
    """What is fine-tuned: the same for every trial of a study.

    ``dataset`` is ``builtin:NAME``, a hub id (``glue/sst2`` names a configuration after the slash),
    or files by split. ``max_length`` counts word pieces. ``steps`` (optimizer steps), where given,
    takes the place of ``epochs``. ``train_samples`` and ``validation_samples`` cap the splits.
    """

    kind: str = "text-classification"
    model: str = "builtin:minilm"
    dataset: str | Mapping[str, str] = "builtin:docstrings"
    columns: Columns = field(default_factory=Columns)
    epochs: float = 1.0
    steps: int | None = None
    max_length: int = 128
    seed: int = 0
    train_samples: int | None = None
    validation_samples: int | None = None


@dataclass(frozen=True)
class Objective:
    """A metric to push, and the way to push it."""

    metric: str
    direction: Direction

    @property
    def sign(self) -> float:
        """+1 where more is better, -1 where less is."""
        return 1.0 if self.direction == "maximize" else -1.0


@dataclass(frozen=True)
class Constraint:
    """``metric >= bound``, or ``metric >= baseline + offset`` where ``relative`` is set."""

    metric: str
    operator: Literal[">=", "<=", ">", "<"]
    bound: float
    relative: bool = False

    def __str__(self) -> str:
        if not self.relative:
            return f"{self.metric} {self.operator} {self.bound:g}"
        sign = "-" if self.bound < 0 else "+"
        return f"{self.metric} {self.operator} baseline {sign} {abs(self.bound):g}"


@dataclass(frozen=True)
class Budget:
    """Where the search ends: whichever comes first. ``None`` does not bound."""

    trials: int | None = None
    minutes: float | None = None
    usd: float | None = None


@dataclass(frozen=True)
class Limits:
    """What one trial may take. Beyond it the trial is ended and recorded as infeasible."""

    memory_gib: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Prices:
    """US dollars per hour: one CPU core, and GPUs by (part of) their name. Unknown is ``None``."""

    cpu_core: float | None = None
    gpus: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecutorChoice:
    """Where trials run: ``local`` worker processes, or a ``ray`` cluster at ``address``."""

    kind: str = "local"
    workers: int = 1
    address: str | None = None


@dataclass(frozen=True)
class SamplerChoice:
    """Which sampler proposes strategies, and its seed."""

    kind: str = "tpe"
    seed: int = 0


@dataclass(frozen=True)
class Study:
    """One question put to one machine: a validated study file with every ``auto`` resolved.

    ``spec`` is the study file that ran, whole, as plain data; ``host`` is where it was resolved.
    """

    name: str
    task: Task
    objectives: tuple[Objective, ...]
    space: Space
    constraints: tuple[Constraint, ...] = ()
    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits)
    prices: Prices = field(default_factory=Prices)
    executor: ExecutorChoice = field(default_factory=ExecutorChoice)
    sampler: SamplerChoice = field(default_factory=SamplerChoice)
    start_with: tuple[Strategy, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def baseline(self) -> Strategy:
        """The default configuration, measured first; every figure is also read against it."""
        return Strategy(self.space.defaults)


# ----------------------------------------------------------------------------------- hardware


@dataclass(frozen=True)
class Device:
    """One place where tensors can live. ``id`` is torch's name: ``cpu``, ``cuda:0``, ``mps``."""

    id: str
    kind: Literal["cpu", "cuda", "mps"]
    name: str | None = None
    memory_gib: float | None = None
    capability: tuple[int, int] | None = None
    bf16: bool | None = None


@dataclass(frozen=True)
class Host:
    """One machine as found. ``cores`` are the logical CPUs this process may use, by id."""

    cpu: str | None
    cores: tuple[int, ...]
    physical_cores: int | None
    memory_gib: float
    numa_nodes: tuple[tuple[int, ...], ...] = ()
    devices: tuple[Device, ...] = ()
    system: str = ""
    libc: str | None = None
    cpu_flags: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The same for machines on which the same strategy should take the same time."""
        devices = [(d.kind, d.name, d.memory_gib) for d in self.devices]
        return digest([self.cpu, len(self.cores), round(self.memory_gib), devices, self.system])

    def device(self, device_id: str) -> Device | None:
        return next((d for d in self.devices if d.id == device_id), None)


@dataclass(frozen=True)
class Resources:
    """What a strategy holds while it runs: known before it runs, paid for by the hour."""

    processes: int = 1
    threads: int = 1
    devices: tuple[str, ...] = ()

    @property
    def cores(self) -> int:
        return self.processes * self.threads


# ------------------------------------------------------------------------------- measurements


@dataclass(frozen=True)
class Measurement:
    """A number with its unit and the raw samples it was derived from.

    ``n`` counts what the value rests on (windows timed, examples judged). ``ci95`` is the 95%
    interval, or ``None`` where one run gives no spread. ``samples`` are steady-state raw values in
    ``unit``; ``warmup`` were recorded but left out. ``source`` is the trial this number was shared
    from, ``None`` where it was measured here.
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
class CurvePoint:
    """Progress of a running trial: where it is, and what is known there.

    ``loss`` is the mean training loss since the last point. ``metrics`` holds validation scores
    where the trial evaluated at this point; such a point is a rung, at which it may be stopped.
    """

    step: int
    total_steps: int
    samples: int
    seconds: float
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something worth knowing later that is no number: a phase begun, a fallback taken."""

    at: datetime
    kind: str
    message: str


@dataclass(frozen=True)
class Evidence:
    """What a trial leaves behind whatever became of it. ``memory`` is (seconds, GiB) over time."""

    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    memory: tuple[tuple[float, float], ...] = ()
    events: tuple[Event, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    log: str | None = None


@dataclass(frozen=True)
class Completed:
    """The trial ran to its end."""

    evidence: Evidence


@dataclass(frozen=True)
class Pruned:
    """The trial was stopped early because it could no longer matter; ``reason`` says why."""

    reason: str
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Infeasible:
    """The strategy cannot work here: a result with a reason, which teaches the search.

    ``kind`` is one of ``out_of_memory timeout nan_loss unsupported predicted``.
    """

    kind: str
    reason: str
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Failed:
    """Something broke. ``kind`` is ``error`` (an exception), ``crash`` (a signal) or
    ``infrastructure`` (the machine: run again elsewhere, never held against the strategy)."""

    kind: str
    reason: str
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Interrupted:
    """The driver went away or was told to stop; the strategy is run again on resume."""

    reason: str
    evidence: Evidence = field(default_factory=Evidence)


Outcome = Completed | Pruned | Infeasible | Failed | Interrupted


class State(StrEnum):
    """Where a trial is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def finished(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


STATE_OF: Mapping[type, State] = {
    Completed: State.COMPLETE,
    Pruned: State.PRUNED,
    Infeasible: State.INFEASIBLE,
    Failed: State.FAILED,
    Interrupted: State.INTERRUPTED,
}


@dataclass(frozen=True)
class Trial:
    """One strategy, tried once. ``evidence`` may come without raw samples when many are listed.

    ``origin`` says who asked for it: ``baseline``, ``start_with``, ``sampler``, ``rerun`` (of an
    interrupted trial) or ``confirm``. ``seed`` drives data order and initialisation.
    """

    number: int
    state: State
    strategy: Strategy
    seed: int = 0
    origin: str = "sampler"
    kind: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def metrics(self) -> dict[str, float]:
        """Values by metric name: those measured."""
        return {name: m.value for name, m in self.evidence.measurements.items()}

    def metric(self, name: str) -> float | None:
        measurement = self.evidence.measurements.get(name)
        return None if measurement is None else measurement.value

    @property
    def seconds(self) -> float | None:
        """Wall-clock from start to finish; ``None`` while it runs."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def finished(self, outcome: Outcome, at: datetime) -> Trial:
        """This trial, ended with ``outcome``."""
        return replace(
            self,
            state=STATE_OF[type(outcome)],
            kind=getattr(outcome, "kind", None),
            reason=getattr(outcome, "reason", None),
            finished_at=at,
            evidence=outcome.evidence,
        )


@dataclass(frozen=True)
class Job:
    """All that a worker needs to run one trial, wherever the worker is.

    ``directory`` is the trial's own folder (log, artifacts). ``hourly_usd`` is the price of the
    resources held. ``cores`` are the CPU ids the executor has set aside, empty for any.
    """

    study: str
    trial: int
    strategy: Strategy
    task: Task
    seed: int
    resources: Resources
    limits: Limits
    directory: str
    hourly_usd: float | None = None
    cores: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
