"""A study: the task, what is wanted, what may be tried, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autotune.domain.search_space import SearchSpace
from autotune.domain.strategy import Strategy

Direction = Literal["maximize", "minimize"]


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
    """Where the search ends: whichever comes first. ``None`` does not bound.

    ``without_gain`` trials in a row that leave the hypervolume as it was end it as well.
    """

    trials: int | None = None
    minutes: float | None = None
    usd: float | None = None
    patience: int | None = None


@dataclass(frozen=True)
class Limits:
    """What one trial may take. Beyond it the trial is ended and recorded as infeasible."""

    memory_gib: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Prices:
    """US dollars per hour: one CPU core, GPUs by (part of) their name, whole nodes of a cluster by
    their class. Unknown is ``None``."""

    cpu_core: float | None = None
    gpus: Mapping[str, float] = field(default_factory=dict)
    nodes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecutorConfig:
    """Where trials run: ``local`` worker processes, a ``ray`` cluster at ``address``, or nowhere:
    ``replay`` looks up in a recorded ``landscape`` what they did.

    ``workers`` trials run at once; 0 is as many as the cluster holds. The trials of a driver that
    was not heard of for ``takeover_seconds`` are run again by the others.
    """

    kind: str = "local"
    workers: int = 1
    address: str | None = None
    takeover_seconds: float = 60.0
    landscape: str | None = None


@dataclass(frozen=True)
class SamplerChoice:
    """Which sampler proposes strategies, and its seed."""

    kind: str = "factored"
    seed: int = 0


@dataclass(frozen=True)
class Confirmation:
    """How the front is confirmed: its ``top`` members run again, whole, with ``seeds`` other seeds
    each, judged on a test split that the search never saw."""

    top: int
    seeds: int = 1


@dataclass(frozen=True)
class Study:
    """One question put to one machine: a validated study file with every ``auto`` resolved.

    ``sharing`` lets trials that agree on all that matters for a number share it. ``warm_start``
    names the study whose trials this one begins with. ``spec`` is the study file that ran, whole,
    as plain data.
    """

    name: str
    task: Task
    objectives: tuple[Objective, ...]
    space: SearchSpace
    constraints: tuple[Constraint, ...] = ()
    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits)
    prices: Prices = field(default_factory=Prices)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    sampler: SamplerChoice = field(default_factory=SamplerChoice)
    start_with: tuple[Strategy, ...] = ()
    sharing: bool = True
    stopping: str = "optimistic"
    confirm: Confirmation | None = None
    warm_start: str | None = None
    plugins: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def baseline(self) -> Strategy:
        """The default configuration, measured first; every figure is also read against it."""
        return Strategy(self.space.defaults)
