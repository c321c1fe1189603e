"""The sections of a study file as pydantic models, independent of any host.

:mod:`autotune.spec.resolve` gives the values their meaning on a host.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from autotune.components import EXECUTORS, SAMPLERS, STOPPING_RULES
from autotune.domain import Direction
from autotune.domain.datasets import NAMED_DATASETS
from autotune.domain.registry import Registry
from autotune.domain.tasks import TASK_KINDS

AUTO = "auto"
"""The value of ``start_with`` that names no strategies, and of ``train_samples`` that leaves the
number to the budget."""

EPOCHS = r"^([1-9]\d*(\.\d+)?|0?\.\d*[1-9]\d*) epochs?$"
"""A positive number of epochs."""

UNKNOWN_NAME = "unknown_name"
"""Type of the pydantic error for a name that is not in its registry."""


@dataclass(frozen=True, eq=False)
class NameIn:
    """Annotates text that must be a name of ``registry`` when it is validated, so that the names
    which plug-ins registered are valid too."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._check, json_schema_input_schema=core_schema.str_schema()
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        records = self.registry.values()
        return {"oneOf": [{"const": r.name, "description": r.summary} for r in records]}

    def _check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.registry:
            names = ", ".join(self.registry)
            raise PydanticCustomError(UNKNOWN_NAME, "unknown name", {"names": names})
        return value


TaskKindName = Annotated[str, NameIn(TASK_KINDS)]
ExecutorName = Annotated[str, NameIn(EXECUTORS)]
SamplerName = Annotated[str, NameIn(SAMPLERS)]
StoppingRuleName = Annotated[str, NameIn(STOPPING_RULES)]

FinitePoints = Annotated[float, Field(allow_inf_nan=False)]
StudyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
NonEmptyText = Annotated[str, Field(min_length=1)]
PositiveNumber = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Price = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[str, Field(pattern=EPOCHS)]
DiskSpace = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: rejects unknown keys, text in place of numbers, and infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _without_auto(value: Any) -> Any:
    """``None`` for a number that is left to the data or to the budget."""
    return None if value == AUTO else value


def _short_form(key: str, *kinds: type) -> Callable[[Any], Any]:
    """Accept a bare value of one of ``kinds`` as short for the mapping ``{key: value}``."""
    return lambda value: {key: value} if isinstance(value, kinds) else value


class DatasetFiles(Section):
    """Local files by split: CSV, JSON Lines or Parquet."""

    train: NonEmptyText
    validation: NonEmptyText | None = None
    test: NonEmptyText | None = None


class HubDataset(Section):
    """A data set of the hub whose splits have other names there."""

    hub: NonEmptyText
    train: NonEmptyText | None = None
    validation: NonEmptyText | None = None
    test: NonEmptyText | None = None


def _dataset_form(value: Any) -> str:
    if isinstance(value, HubDataset) or (isinstance(value, dict) and "hub" in value):
        return "hub"
    return "files" if isinstance(value, dict | DatasetFiles) else "name"


Dataset = Annotated[
    Annotated[NonEmptyText, Tag("name")]
    | Annotated[DatasetFiles, Tag("files")]
    | Annotated[HubDataset, Tag("hub")],
    Discriminator(_dataset_form),
]


class ColumnsSpec(Section):
    """Names of the data set's columns."""

    text: NonEmptyText = Field("text", description="The text, or the words of token classification")
    text_pair: NonEmptyText | None = Field(
        None, description="The second text of a pair, or the context of a question"
    )
    label: NonEmptyText = Field("label", description="The label, number, tags or answers")


def _evaluation_interval(value: Any) -> Any:
    """A share of an epoch as text; a number of steps and ``null`` as they are."""
    if isinstance(value, float) and 0 < value < 1:
        return f"{value:g} epochs"
    is_steps = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value is None or is_steps or (isinstance(value, str) and re.match(EPOCHS, value)):
        return value
    message = "Input should be a number of steps, or a part of the data such as '0.25 epochs'"
    raise PydanticCustomError("evaluation_interval", message)


def _fill_named_dataset(value: Any) -> Any:
    """Add the task kind and columns of a data set of :data:`NAMED_DATASETS` that the file does not
    give."""
    if not isinstance(value, dict):
        return value
    dataset = value.get("dataset")
    name = dataset.get("hub") if isinstance(dataset, dict) else dataset
    named = NAMED_DATASETS.get(name) if isinstance(name, str) else None
    columns = value.get("columns", {})
    if named is None or not isinstance(columns, dict):
        return value
    known = {key: column for key, column in asdict(named.columns).items() if column is not None}
    return {"kind": named.kind, **value, "columns": {**known, **columns}}


class TaskSpec(Section):
    """Model, data set and training length, the same for every trial."""

    _fill = model_validator(mode="before")(_fill_named_dataset)

    kind: TaskKindName = "text-classification"
    model: NonEmptyText = Field(
        "builtin:minilm",
        description="builtin:minilm, builtin:bert-tiny, a hub id, or a local directory",
    )
    dataset: Dataset = Field(
        "builtin:docstrings",
        description="builtin:docstrings, a hub id, or files by split; {hub: ID, validation: dev} "
        "names splits of the hub; glue/mnli, squad and others know their kind and columns",
    )
    columns: ColumnsSpec = ColumnsSpec()
    epochs: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Passes over the training split; 1 unless given"
    )
    steps: Count | None = Field(None, description="Optimizer steps, instead of epochs")
    max_length: Annotated[
        Annotated[int, Field(ge=4, le=65_536)] | None,
        BeforeValidator(
            _without_auto,
            json_schema_input_type=Annotated[int, Field(ge=4, le=65_536)] | Literal["auto"],
        ),
    ] = Field(
        128, description="Maximum tokens per sample; auto: so many that 1% of the texts are cut"
    )
    stride: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Tokens that two windows of a long context share in question answering; 128 "
        "unless given",
    )
    labels: list[NonEmptyText] | None = Field(
        None, description="Names of the labels 0, 1, ... where the data has numbers"
    )
    class_weights: Literal["balanced"] | dict[NonEmptyText, PositiveNumber] | None = Field(
        None, description="Weights of labels in the loss; balanced: frequent labels count less"
    )
    loss: NonEmptyText | None = Field(
        None, description="A loss of a plug-in, or module:function, instead of that of the kind"
    )
    seed: Seed = 0
    train_samples: Annotated[
        Count | None,
        BeforeValidator(_without_auto, json_schema_input_type=Count | Literal["auto"] | None),
    ] = Field(
        None,
        description="Maximum number of training samples; auto: as many as budget.minutes allows",
    )
    validation_samples: Count | None = Field(
        None, description="Maximum number of validation samples"
    )
    evaluate_every: Annotated[
        int | str | None,
        BeforeValidator(_evaluation_interval, json_schema_input_type=Count | Share | Epochs | None),
    ] = Field(
        None,
        description="Evaluate after this many steps, or after '0.25 epochs', and keep the best "
        "weights; without it the last weights count",
    )
    best_metric: NonEmptyText | None = Field(
        None,
        description="Score that decides which evaluation is the best; the first one among the "
        "objectives unless given",
    )


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
    gpus: dict[NonEmptyText, Price] = {}
    nodes: dict[NonEmptyText, Price] = {}


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
    BeforeValidator(_short_form("kind", str), json_schema_input_type=ExecutorSpec | ExecutorName),
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
            BeforeValidator(_short_form("metric", str), json_schema_input_type=ObjectiveSpec | str),
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
        Annotated[LeverSpec, BeforeValidator(_short_form("values", str, int, float, bool, list))],
    ] = Field(min_length=1, description="The levers to search")
    rules: list[
        Annotated[
            RuleSpec,
            BeforeValidator(_short_form("exclude", str), json_schema_input_type=RuleSpec | str),
        ]
    ] = []
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
            _short_form("models", str),
            json_schema_input_type=KeepSpec | Literal["front", "all", "none"],
        ),
    ] = KeepSpec()
    prices: PricesSpec = PricesSpec()
    executor: Executor = ExecutorSpec()
    sampler: Annotated[
        SamplerSpec,
        BeforeValidator(_short_form("kind", str), json_schema_input_type=SamplerSpec | SamplerName),
    ] = SamplerSpec()
    storage: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(\+[a-z0-9_]+)?://")] | None = Field(
        None, description="SQLAlchemy URL of the store"
    )
