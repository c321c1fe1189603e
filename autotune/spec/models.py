"""The shape of a study file. What a value means on a host is for :mod:`autotune.spec.resolve`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from autotune.domain import Direction

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Word = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Price = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: no unknown keys, no text where a number belongs, no infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _short(key: str, *kinds: type) -> Callable[[Any], Any]:
    """Read a bare value of ``kinds`` as the mapping that has it under ``key``."""
    return lambda value: {key: value} if isinstance(value, kinds) else value


class DatasetFiles(Section):
    """Local files by split: CSV, JSON Lines or Parquet."""

    train: Word
    validation: Word | None = None
    test: Word | None = None


Dataset = Annotated[
    Annotated[Word, Tag("name")] | Annotated[DatasetFiles, Tag("files")],
    Discriminator(lambda value: "files" if isinstance(value, dict | DatasetFiles) else "name"),
]


class ColumnsSpec(Section):
    """Names of the data set's columns."""

    text: Word = "text"
    text_pair: Word | None = None
    label: Word = "label"


class TaskSpec(Section):
    """What is fine-tuned, the same for every trial."""

    kind: Literal["text-classification", "token-classification"] = "text-classification"
    model: Word = Field(
        "builtin:minilm",
        description="builtin:minilm, builtin:bert-tiny, a hub id, or a local directory",
    )
    dataset: Dataset = Field(
        "builtin:docstrings", description="builtin:docstrings, a hub id, or files by split"
    )
    columns: ColumnsSpec = ColumnsSpec()
    epochs: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Passes over the training split; 1 unless given"
    )
    steps: Count | None = Field(None, description="Optimizer steps, in place of epochs")
    max_length: Annotated[int, Field(ge=4, le=65_536)] = Field(128, description="In word pieces")
    seed: Seed = 0
    train_samples: Count | None = Field(None, description="Use at most so many training examples")
    validation_samples: Count | None = Field(
        None, description="Use at most so many validation examples"
    )


class ObjectiveSpec(Section):
    """A metric to push; the direction defaults to the better one of the metric."""

    metric: Word
    direction: Direction | None = None


class LeverSpec(Section):
    """What is searched of one lever: ``values``, or a range from ``low`` to ``high``."""

    values: Any = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool | None = None
    when: Word | None = None


class RuleSpec(Section):
    """A combination that is not offered."""

    exclude: Word
    because: Word = "the study excludes it"


class BudgetSpec(Section):
    """Where the search ends: whichever comes first."""

    trials: Count | None = None
    minutes: Positive | None = None
    usd: Positive | None = None


class ConfirmSpec(Section):
    """Which finalists are run again, whole, and how often."""

    top: Count = Field(description="Members of the front, the knee first")
    seeds: Count = Field(1, description="Runs of each, under so many other seeds")


class LimitsSpec(Section):
    """What one trial may take."""

    memory_gib: Positive | None = None
    minutes: Positive | None = None


class PricesSpec(Section):
    """US dollars per hour. GPUs are known by a part of their name, whole nodes by their class."""

    cpu_core: Price | None = None
    gpus: dict[Word, Price] = {}
    nodes: dict[Word, Price] = {}


class ExecutorSpec(Section):
    """Where trials run."""

    kind: Literal["local", "ray", "replay"] = "local"
    workers: Count | None = Field(
        None, description="Trials at once; 1 unless given, on ray as many as the cluster holds"
    )
    address: Word | None = Field(None, description="Of a running Ray cluster: auto or HOST:PORT")
    takeover_seconds: Annotated[float, Field(ge=2)] = Field(
        60.0, description="Silence after which another driver's trials are run again"
    )
    landscape: Word | None = Field(
        None, description="Parquet file of recorded trials, which replay runs in simulated time"
    )


Executor = Annotated[
    ExecutorSpec,
    BeforeValidator(
        _short("kind", str), json_schema_input_type=ExecutorSpec | Literal["local", "ray"]
    ),
]


class ExecutorSection(Section):
    """The one section that has to be read before all others."""

    executor: Executor = ExecutorSpec()


SamplerKind = Literal["factored", "tpe", "nsga2", "random", "grid", "qmc"]


class SamplerSpec(Section):
    """What proposes strategies."""

    kind: SamplerKind = "factored"
    seed: Seed = 0


StoppingRule = Literal["optimistic", "asha", "none"]


class StudyFile(Section):
    """A study: one question put to one machine."""

    study: Name = Field(description="Name of the study in the store")
    task: TaskSpec = TaskSpec()
    objectives: list[
        Annotated[
            ObjectiveSpec,
            BeforeValidator(_short("metric", str), json_schema_input_type=ObjectiveSpec | str),
        ]
    ] = Field(min_length=1)
    constraints: list[Word] = Field(
        [], description="Such as 'accuracy >= baseline - 0.01' or 'peak_memory_gib <= 8'"
    )
    space: dict[
        str,
        Annotated[LeverSpec, BeforeValidator(_short("values", str, int, float, bool, list))],
    ] = Field(min_length=1, description="The levers to search")
    rules: list[
        Annotated[
            RuleSpec, BeforeValidator(_short("exclude", str), json_schema_input_type=RuleSpec | str)
        ]
    ] = []
    start_with: list[dict[str, Any]] = Field([], description="Strategies to try first")
    sharing: bool = Field(
        True, description="Take what another trial has measured already from that trial"
    )
    early_stopping: StoppingRule = Field(
        "optimistic", description="Which trials are stopped early: see docs/search.md"
    )
    budget: BudgetSpec = BudgetSpec()
    stop_when: Word | None = Field(
        None,
        description="Ends the search early: 'no hypervolume gain in 12 trials'",
        json_schema_extra={"pattern": r"^\s*no hypervolume gain in [1-9]\d* trials?\s*$"},
    )
    confirm: ConfirmSpec | None = Field(
        None, description="Run the best again at the end, judged on the test split"
    )
    warm_start: Name | None = Field(
        None, description="Begin with the trials of this study of the same store and task"
    )
    limits: LimitsSpec = LimitsSpec()
    prices: PricesSpec = PricesSpec()
    executor: Executor = ExecutorSpec()
    sampler: Annotated[
        SamplerSpec,
        BeforeValidator(_short("kind", str), json_schema_input_type=SamplerSpec | SamplerKind),
    ] = SamplerSpec()
    storage: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(\+[a-z0-9_]+)?://")] | None = Field(
        None, description="SQLAlchemy URL of the store"
    )
