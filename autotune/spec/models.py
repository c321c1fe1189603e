"""The sections of a study file as pydantic models, independent of any host.

:mod:`autotune.spec.resolve` gives the values their meaning on a host.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from autotune.components import EXECUTORS, SAMPLERS, STOPPING_RULES
from autotune.domain import Direction
from autotune.spec.fields import (
    AUTO,
    Count,
    DiskSpace,
    FinitePoints,
    NameIn,
    NonEmptyText,
    PositiveNumber,
    Price,
    Section,
    Seed,
    StudyName,
    short_form,
)
from autotune.spec.task_section import TaskSpec

ExecutorName = Annotated[str, NameIn(EXECUTORS)]
SamplerName = Annotated[str, NameIn(SAMPLERS)]
StoppingRuleName = Annotated[str, NameIn(STOPPING_RULES)]


class ObjectiveSpec(Section):
    """A metric to optimise; ``direction`` defaults to the metric's own."""

    metric: NonEmptyText
    direction: Direction | None = None


class GoalSpec(Section):
    """One answer instead of a front: the best value of a metric under conditions, confirmed."""

    require: list[NonEmptyText] = Field(
        [], description="Conditions such as 'accuracy >= baseline - 0.01'"
    )
    maximize: NonEmptyText | None = Field(None, description="The metric to maximize")
    minimize: NonEmptyText | None = Field(None, description="The metric to minimize")
    seeds: Count = Field(3, description="Seeds with which the answer and the default are confirmed")


class LeverSpec(Section):
    """The settings of one lever to search: ``values``, or a range from ``low`` to ``high``."""

    values: Any = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool | None = None
    when: NonEmptyText | None = None


class RuleSpec(Section):
    """A forbidden combination of settings."""

    exclude: NonEmptyText
    because: NonEmptyText = "the study excludes it"


class BudgetSpec(Section):
    """Limits of the search; the first one reached ends it."""

    trials: Count | None = None
    minutes: PositiveNumber | None = None
    usd: PositiveNumber | None = None


class ConfirmSpec(Section):
    """How many trials of the front are confirmed, and with how many other seeds."""

    top: Count = Field(description="Number of trials to confirm, the knee first")
    seeds: Count = Field(1, description="Runs of each finalist and the default, with other seeds")


class LimitsSpec(Section):
    """Limits of one trial."""

    memory_gib: PositiveNumber | None = None
    minutes: PositiveNumber | None = None
    checkpoint_gib: DiskSpace = Field(
        20.0,
        description="Disk space for the checkpoints of all trials of the study; 0 writes none",
    )


class KeepSpec(Section):
    """Which trained models remain on disk."""

    models: Literal["front", "all", "none"] | None = Field(
        None,
        description="Those of the front, all, or none; front unless given if models are deployed, "
        "else none",
    )
    gigabytes: PositiveNumber = Field(
        5.0, description="Disk space for the models of the study, during the search too"
    )


class PricesSpec(Section):
    """US dollars per hour. GPUs are named by a part of their name, nodes by their class."""

    cpu_core: Price | None = None
    gpus: dict[NonEmptyText, Price] = Field({})
    nodes: dict[NonEmptyText, Price] = Field({})


class ExecutorSpec(Section):
    """Where trials run."""

    kind: ExecutorName = "local"
    workers: Count | None = Field(
        None,
        description="Concurrent trials; defaults to 1, on ray to as many as the cluster can run",
    )
    address: NonEmptyText | None = Field(
        None, description="Address of a running Ray cluster: auto or HOST:PORT"
    )
    takeover_seconds: Annotated[float, Field(ge=2)] = Field(
        60.0,
        description="Age of a driver's heartbeat after which other drivers run its trials again",
    )
    landscape: NonEmptyText | None = Field(
        None, description="Parquet file of recorded trials for the executor replay"
    )


Executor = Annotated[
    ExecutorSpec,
    BeforeValidator(short_form("kind", str), json_schema_input_type=ExecutorSpec | ExecutorName),
]


class ExecutorSection(Section):
    """The section that is read before all others, because the hardware depends on it."""

    executor: Executor = ExecutorSpec()


class SamplerSpec(Section):
    """The sampler that proposes strategies."""

    kind: SamplerName = "factored"
    seed: Seed = 0
    recipes: bool = Field(True, description="Try common recipes first, if the sampler learns")
    priors: dict[NonEmptyText, dict[NonEmptyText, FinitePoints]] = Field(
        {}, description="Points of accuracy that settings of a lever are expected to lose"
    )


class StudyFile(Section):
    """A study: what to fine-tune, what to optimise, and which settings to search."""

    study: StudyName = Field(description="Name of the study in the store")
    plugins: list[NonEmptyText] = Field(
        [], description="Python files that register levers, metrics, task kinds or other components"
    )
    task: TaskSpec = TaskSpec()
    objectives: list[
        Annotated[
            ObjectiveSpec,
            BeforeValidator(short_form("metric", str), json_schema_input_type=ObjectiveSpec | str),
        ]
    ] = Field(min_length=1)
    goal: GoalSpec | None = Field(
        None, description="One answer instead of a front; replaces objectives, constraints, confirm"
    )
    constraints: list[NonEmptyText] = Field(
        [], description="Such as 'accuracy >= baseline - 0.01' or 'peak_memory_gib <= 8'"
    )
    space: dict[
        str,
        Annotated[LeverSpec, BeforeValidator(short_form("values", str, int, float, bool, list))],
    ] = Field(min_length=1, description="The levers to search")
    rules: list[
        Annotated[
            RuleSpec,
            BeforeValidator(short_form("exclude", str), json_schema_input_type=RuleSpec | str),
        ]
    ] = Field([])
    baseline: dict[str, Any] = Field(
        {},
        description="Settings of your own recipe, with which all trials are compared; other levers "
        "have the default of the Trainer",
    )
    start_with: Annotated[
        list[dict[str, Any]],
        BeforeValidator(
            lambda value: [] if value == AUTO else value,
            json_schema_input_type=list[dict[str, Any]],
        ),
    ] = Field([], description="Strategies to run first; auto: none but the sampler's recipes")
    sharing: bool = Field(True, description="Reuse results that other trials have measured")
    early_stopping: StoppingRuleName = Field(
        "optimistic", description="Rule that stops trials early: see docs/search.md"
    )
    budget: BudgetSpec = BudgetSpec()
    stop_when: NonEmptyText | None = Field(
        None,
        description="Ends the search: 'no hypervolume gain in 12 trials'",
        json_schema_extra={"pattern": r"^\s*no hypervolume gain in [1-9]\d* trials?\s*$"},
    )
    confirm: ConfirmSpec | None = Field(
        None, description="Run the best trials again at the end and evaluate them on the test split"
    )
    warm_start: StudyName | None = Field(
        None, description="Start from the trials of this study of the same store and task"
    )
    limits: LimitsSpec = LimitsSpec()
    keep: Annotated[
        KeepSpec,
        BeforeValidator(
            short_form("models", str),
            json_schema_input_type=KeepSpec | Literal["front", "all", "none"],
        ),
    ] = KeepSpec()
    prices: PricesSpec = PricesSpec()
    executor: Executor = ExecutorSpec()
    sampler: Annotated[
        SamplerSpec,
        BeforeValidator(short_form("kind", str), json_schema_input_type=SamplerSpec | SamplerName),
    ] = SamplerSpec()
    storage: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(\+[a-z0-9_]+)?://")] | None = Field(
        None, description="SQLAlchemy URL of the store"
    )
