"""A study: its task, objectives, search space and budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from autotune.domain.search_space import SearchSpace
from autotune.domain.strategy import Strategy, Value
from autotune.domain.workload import WorkloadProfile

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Columns:
    """Names of the columns of the data set."""

    text: str = "text"
    text_pair: str | None = None
    label: str = "label"


@dataclass(frozen=True)
class Task:
    """What is fine-tuned: the same for every trial of a study.

    ``dataset`` is ``builtin:NAME``, a hub id (``glue/sst2`` is configuration ``sst2`` of ``glue``),
    files by split, or ``{"hub": id}`` with the hub's names of splits. ``max_length`` is in tokens;
    ``None`` if the lengths of the data decide. ``stride`` are the tokens that two windows of a long
    context share. ``labels`` are the names of labels in the order of the model's outputs; ``None``
    if the data has them. ``class_weights`` are those of the loss, by label, or ``balanced``.
    ``loss`` is a name of :data:`autotune.domain.losses.LOSSES`, or the ``module:function`` of
    another loss than that of the kind, ``collator`` that of a function that changes the inputs of
    training batches. ``metrics`` are the ``module:function`` of other scores, and ``model_class``
    is the ``module:class`` of a model that is none of transformers'. ``code`` is a digest of the
    source of these functions, by which changed ones are recognised.
    ``threshold`` is the probability above which one of several labels applies, or by how much the
    logits of no answer have to be larger than those of an answer; ``auto``: tuned on validation.
    ``steps`` (optimizer steps) replaces ``epochs`` if it is set. ``train_samples`` and
    ``validation_samples`` limit the size of the splits. ``evaluate_every``: a number of optimizer
    steps, or a text such as ``0.25 epochs``, after which the model is evaluated on the validation
    split. The weights with the best ``best_metric`` count, not the last ones. ``teacher`` is the
    model (a hub id or a folder) whose logits trials with ``distillation`` learn; ``None`` for the
    best of the study's own.
    """

    kind: str = "text-classification"
    model: str = "builtin:minilm"
    dataset: str | Mapping[str, str] = "builtin:docstrings"
    columns: Columns = field(default_factory=Columns)
    epochs: float = 1.0
    steps: int | None = None
    max_length: int | None = 128
    stride: int | None = None
    labels: tuple[str, ...] | None = None
    class_weights: str | Mapping[str, float] | None = None
    loss: str | None = None
    collator: str | None = None
    model_class: str | None = None
    metrics: tuple[str, ...] | None = None
    code: str | None = None
    threshold: float | str | None = None
    seed: int = 0
    train_samples: int | None = None
    validation_samples: int | None = None
    evaluate_every: int | str | None = None
    best_metric: str | None = None
    teacher: str | None = None

    def with_code_of(self, other: Task) -> Task:
        """This task with the ``code`` of ``other`` where its own was not recorded, as in studies of
        before there was a digest."""
        return replace(self, code=self.code or other.code)


@dataclass(frozen=True)
class Objective:
    """A metric to optimise."""

    metric: str
    direction: Direction

    @property
    def sign(self) -> float:
        """+1 to maximise, -1 to minimise."""
        return 1.0 if self.direction == "maximize" else -1.0


@dataclass(frozen=True)
class Constraint:
    """``metric >= bound``; if ``relative``, ``metric >= baseline + bound``."""

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
    """Limits of a search; the first one reached ends it. ``None`` is no limit.

    ``patience`` is a number of consecutive trials that do not increase the hypervolume.
    """

    trials: int | None = None
    minutes: float | None = None
    usd: float | None = None
    patience: int | None = None


@dataclass(frozen=True)
class Limits:
    """Limits of one trial. A trial that exceeds them is aborted and recorded as infeasible.

    ``checkpoint_gib`` is the disk space for the checkpoints of all trials of a study; 0 for none.
    """

    memory_gib: float | None = None
    minutes: float | None = None
    checkpoint_gib: float = 20.0


@dataclass(frozen=True)
class Retention:
    """Which trained models remain after a search: those of the front, all, or none. Models, with
    their pruned copies and graphs, use at most ``gigabytes`` of disk space."""

    models: Literal["front", "all", "none"] = "none"
    gigabytes: float = 5.0


@dataclass(frozen=True)
class Prices:
    """US dollars per hour of a CPU core, of GPUs by a part of their name, and of cluster nodes by
    their class."""

    cpu_core: float | None = None
    gpus: Mapping[str, float] = field(default_factory=dict)
    nodes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecutorConfig:
    """Where trials run. ``kind`` is a name of :data:`autotune.components.EXECUTORS`.

    ``workers`` trials run concurrently; 0 for as many as the cluster can run. ``address`` is that
    of a Ray cluster, ``landscape`` the file of recorded trials to replay. If the heartbeat of a
    driver is older than ``takeover_seconds``, other drivers run its trials again.
    """

    kind: str = "local"
    workers: int = 1
    address: str | None = None
    takeover_seconds: float = 60.0
    landscape: str | None = None


@dataclass(frozen=True)
class SamplerConfig:
    """The sampler, a name of :data:`autotune.components.SAMPLERS`, and its seed.

    ``recipes``: whether a sampler that learns proposes common recipes first
    (:mod:`autotune.levers.recipes`). ``priors``: by lever, pairs of a setting and the points of
    accuracy that it is expected to lose; they replace :mod:`autotune.levers.priors` for the lever.
    """

    kind: str = "factored"
    seed: int = 0
    recipes: bool = False
    priors: Mapping[str, tuple[tuple[Value, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Confirmation:
    """How the front is confirmed: the best ``top`` trials run again without cached results, with
    ``seeds`` other seeds each, and are evaluated on a test split that the search did not use. The
    default runs with the same seeds."""

    top: int
    seeds: int = 1

    @property
    def runs(self) -> int:
        """The number of runs, those of the default included."""
        return (self.top + 1) * self.seeds


@dataclass(frozen=True)
class Study:
    """A study file that was validated and resolved on a host.

    ``sharing``: whether trials reuse results of other trials that cannot differ. ``stopping`` is a
    name of :data:`autotune.components.STOPPING_RULES`. ``deploys``: whether trials also deploy the
    model that they trained, because an objective, a constraint or a searched lever is one of the
    deployed model. ``warm_start`` is the name of the study
    whose trials are imported. ``plugins`` are the plug-ins to load in each process
    (:func:`autotune.plugins.load`). ``data_digest`` is a hash of the rows of the task, which are a
    part of its identity, ``model_digests`` those of the files of its models and its teacher in
    directories, by name, and ``workload`` the sizes of model and data; ``None`` until they are
    read. ``spec`` is the study file as plain data.
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
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    start_with: tuple[Strategy, ...] = ()
    sharing: bool = True
    stopping: str = "optimistic"
    confirm: Confirmation | None = None
    warm_start: str | None = None
    plugins: tuple[str, ...] = ()
    deploys: bool = False
    keep: Retention = field(default_factory=Retention)
    data_digest: str | None = None
    model_digests: Mapping[str, str] = field(default_factory=dict)
    workload: WorkloadProfile | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def baseline(self) -> Strategy:
        """The default strategy, which is measured first and with which results are compared."""
        return Strategy(self.space.defaults)

    def changed_content(self, later: Study) -> Iterator[tuple[str, str, str]]:
        """What was edited under its name until ``later``, with both hashes: the rows of the task,
        and the files of models. What is not known of one of the two is left out."""
        contents = [("the content of task.dataset", self.data_digest, later.data_digest)]
        contents += [
            (f"the content of model {name}", digest, later.model_digests.get(name))
            for name, digest in self.model_digests.items()
        ]
        for name, before, after in contents:
            if before is not None and after is not None and before != after:
                yield name, before, after

    @property
    def keeps_models(self) -> bool:
        """Whether trials leave their trained model on disk."""
        return self.deploys or self.keep.models != "none"

    @property
    def has_own_teacher(self) -> bool:
        """Whether trials learn from the most accurate model of the study itself."""
        is_searched = any(d.lever == "distillation" for d in self.space.dimensions)
        return is_searched and self.task.teacher is None

    @property
    def has_auto_samples(self) -> bool:
        """Whether the budget decides on how many samples trials train."""
        return (self.spec.get("task") or {}).get("train_samples") == "auto"

    @property
    def has_goal(self) -> bool:
        """Whether one confirmed answer is searched, and not a front."""
        return bool(self.spec.get("goal"))

    @property
    def target_metrics(self) -> tuple[str, ...]:
        """The metrics of the objectives, then those of the constraints, each once."""
        names = [objective.metric for objective in self.objectives]
        names += [constraint.metric for constraint in self.constraints]
        return tuple(dict.fromkeys(names))

    @property
    def reported_metrics(self) -> tuple[str, ...]:
        """The metrics that describe a result: the objectives, and those that a goal requires."""
        if self.has_goal:
            return self.target_metrics
        return tuple(objective.metric for objective in self.objectives)

    @property
    def baseline_name(self) -> str:
        """What texts call the baseline: the default of the Trainer, or the user's own recipe."""
        return "your baseline" if self.spec.get("baseline") else "the default"
