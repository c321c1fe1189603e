"""The section ``task`` of a study file."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from autotune.domain.datasets import NAMED_DATASETS
from autotune.domain.tasks import TASK_KINDS
from autotune.spec.fields import (
    EPOCHS,
    Count,
    Epochs,
    FiniteNumber,
    NameIn,
    NonEmptyText,
    PositiveNumber,
    Section,
    Seed,
    Share,
    without_auto,
)

TaskKindName = Annotated[str, NameIn(TASK_KINDS)]


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
    defaults = {key: column for key, column in asdict(named.columns).items() if column is not None}
    return {"kind": named.kind, **value, "columns": {**defaults, **columns}}


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
            without_auto,
            json_schema_input_type=Annotated[int, Field(ge=4, le=65_536)] | Literal["auto"],
        ),
    ] = Field(
        128, description="Maximum tokens per sample; auto: so many that 1% of the texts are cut"
    )
    stride: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Divide texts that are too long into windows that share so many tokens; in "
        "question answering 128 unless given, in others texts are cut without it",
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
    teacher: NonEmptyText | None = Field(
        None,
        description="Model whose logits trials with distillation learn: a hub id or a folder; the "
        "most accurate of the study's first models unless given",
    )
    collator: NonEmptyText | None = Field(
        None, description="module:function that changes the inputs of padded training batches"
    )
    model_class: NonEmptyText | None = Field(
        None,
        description="module:class of a model of your own, which has the weights and tokenizer of "
        "model",
    )
    metrics: list[NonEmptyText] = Field(
        [], description="Scores of your own as module:function, from 0 to 1; higher is better"
    )
    threshold: Literal["auto"] | FiniteNumber | None = Field(
        None,
        description="Probability above which one of several labels applies (0.5), or by how much "
        "no answer has to exceed an answer (0, in logits); auto: tuned on validation",
    )
    seed: Seed = 0
    train_samples: Annotated[
        Count | None,
        BeforeValidator(without_auto, json_schema_input_type=Count | Literal["auto"] | None),
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
