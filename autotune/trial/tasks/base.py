"""The interface of task kinds, and what the kinds share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Protocol, runtime_checkable

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.domain.text import closest
from autotune.errors import DataError, ModelError
from autotune.trial.labels import LABEL_NUMBER
from autotune.trial.split import IGNORE_INDEX as IGNORE_INDEX
from autotune.trial.split import Arrays as Arrays
from autotune.trial.split import Split
from autotune.trial.tables import Table

INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)

MAX_CHARACTERS = 200_000
"""Characters of a text that are tokenized: 20 times what the longest encoders take."""

LABEL = "label"
"""The key of ``task.columns`` that is no text."""
LABEL_NAMES = frozenset(
    ("label", "labels", "class", "category", "target", "tag", "tags", "ner_tags", "sentiment")
)
"""Usual names of columns of labels."""
SAMPLE_ROWS, MAX_LABEL_CHARACTERS = 200, 40


def is_evaluated(labels: Any) -> Any:
    """The mask of the labels (an array or a tensor) that are evaluated: integers other than
    :data:`IGNORE_INDEX`, floating-point numbers other than NaN."""
    return labels == labels if _is_floating(labels) else labels != IGNORE_INDEX


def ignored_label(labels: Any) -> float:
    """The value that excludes one of ``labels`` (an array or a tensor) from evaluation."""
    return nan if _is_floating(labels) else IGNORE_INDEX


def _is_floating(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.dtype.kind == "f"
    return bool(values.is_floating_point())


@dataclass(frozen=True)
class Examples:
    """Validated, untokenized rows. ``inputs`` and ``labels`` have the form of their task kind;
    names of labels are strings."""

    inputs: Sequence[Any]
    labels: Sequence[Any]

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Sequence[int]) -> Examples:
        return Examples([self.inputs[i] for i in rows], [self.labels[i] for i in rows])


class TaskType(Protocol):
    """One kind of task. Stateless."""

    auto_class: str
    """The class of transformers that loads a model with the right head."""

    problem_type: str | None
    """``config.problem_type``, by which the model computes its loss: the task decides, not what the
    model was trained for before."""

    tokenizer_options: Mapping[str, Any]
    """Arguments with which the tokenizer must be loaded for this kind of input."""

    def clean(
        self, tables: Mapping[str, Table], columns: Columns
    ) -> tuple[dict[str, Table], list[str]]:
        """``tables`` without rows that have no label, and notes on what was changed."""

    def parse(self, table: Table, columns: Columns) -> Examples:
        """Validate every row. Raises :class:`DataError` with the location of an invalid one."""

    def to_row(self, inputs: Any, labels: Any, columns: Columns) -> Mapping[str, Any]:
        """One example as a row that :meth:`parse` reads: the inverse of it."""

    def example_labels(self, labels: Any) -> Sequence[str]:
        """The names of the labels of one example; empty if they have none."""

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        """All labels, in the order of the model's outputs."""

    def stratum(self, labels: Any) -> str:
        """The stratum of an example for stratified sampling."""

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        ids: Mapping[str, int],
        max_length: int,
        stride: int | None = None,
    ) -> Arrays:
        """Tokenize without padding, in windows that overlap by ``stride`` tokens where the kind
        divides long texts."""

    def scores(
        self, split: Split, values: np.ndarray, label_names: Sequence[str]
    ) -> dict[str, Measurement]:
        """``accuracy``, ``f1`` and other usual scores. ``values`` are the predictions for
        ``split``: classes in the shape and order of its labels, or logits of its examples or
        tokens, as the record of the kind says."""

    def hits(self, split: Split, values: np.ndarray) -> np.ndarray | None:
        """Which evaluated labels are predicted correctly, or which examples if these have several
        labels; ``None`` for predictions that are not right or wrong."""

    def decode(self, split: Split, values: np.ndarray) -> tuple[Any, Any]:
        """The labels of ``split`` and the predictions, as a user's own metrics get them."""


@runtime_checkable
class ThresholdTask(Protocol):
    """What a kind of task adds whose predictions depend on a threshold. ``values`` are logits, the
    predictions for ``split``."""

    def tune_threshold(self, split: Split, values: np.ndarray) -> float:
        """The threshold with the best score; the usual one if that is as good."""

    def apply_threshold(self, split: Split, values: np.ndarray, threshold: float) -> np.ndarray:
        """``values``, moved so that the usual threshold decides as ``threshold`` does."""


def get_column(table: Table, name: str, key: str) -> Sequence[Any]:
    """The column that ``task.columns.<key>`` names."""
    if name in table.columns:
        return table.columns[name]
    candidates = [column for column in table.columns if _can_be(table, column, key)]
    match = closest(name, candidates, cutoff=0.3) or next(iter(candidates), None)
    raise DataError(
        f"{table.name}: no column {name!r}; it has {', '.join(table.columns)}",
        hint=f"task.columns.{key}: {match or 'NAME'}",
    )


def _can_be(table: Table, name: str, key: str) -> bool:
    """Whether a column can be proposed for ``task.columns.<key>``: labels are named so or are few
    short values, numbers are no text."""
    values = [value for value in table.columns[name][:SAMPLE_ROWS] if value is not None]
    items = [str(item) for value in values for item in (value if type(value) is list else [value])]
    is_short = all(len(item) <= MAX_LABEL_CHARACTERS for item in items)
    is_label = name.lower() in LABEL_NAMES or (is_short and len({*items}) <= len(items) / 2)
    if key == LABEL:
        return is_label
    return not is_label and any(isinstance(value, str | list) for value in values)


def require_fast(tokenizer: Any, purpose: str) -> None:
    """Raise :class:`ModelError` for a tokenizer in Python, which does not say where tokens are."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"{purpose} needs a tokenizer that gives the positions of tokens in the text",
            hint="save a fast tokenizer: AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIR)",
        )


def apply_prefix_space(tokenizer: Any) -> None:
    """Encode words as after a space, if ``tokenizer`` was loaded with ``add_prefix_space``: for
    some families, transformers reads the files of the tokenizer and leaves them as they are."""
    from tokenizers.pre_tokenizers import ByteLevel

    if not tokenizer.is_fast or not getattr(tokenizer, "add_prefix_space", False):
        return
    pre_tokenizer = tokenizer.backend_tokenizer.pre_tokenizer
    if isinstance(pre_tokenizer, ByteLevel):
        pre_tokenizer.add_prefix_space = True
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer


def parse_label(value: Any, where: str) -> str:
    """The name of a label that is a string or an integer. Integral floats are read as integers:
    tables convert integers to floats if a value is missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int):
        return str(value)
    problem = "is missing" if value is None or value == "" else f"is {value!r}"
    raise DataError(
        f"{where}: the label {problem}", hint="a label is a name or an integer; drop such rows"
    )


def class_name(classes: Sequence[str], value: Any, where: str) -> str:
    """The name of a label that is one of the declared ``classes``, or the number of one: by the
    rule of :mod:`autotune.trial.labels`, ``1.0`` is the number 1."""
    label = value
    if isinstance(value, str) and value not in classes:
        label = value.strip()
        if label not in classes and (match := LABEL_NUMBER.fullmatch(label)):
            number = int(match[1])
            label = str(number) if str(number) in classes else number
    elif isinstance(value, float) and value.is_integer():
        label = int(value)
    if isinstance(label, str) and label in classes:
        return label
    if isinstance(label, int) and 0 <= label < len(classes):
        return classes[label]
    raise DataError(
        f"{where}: the label is {value!r}; classes are 0 to {len(classes) - 1}",
        hint=f"drop the rows without a label; the classes are {', '.join(classes[:20])}",
    )


def cut_text(text: str) -> str:
    """The part of a text that can matter, so that a text of 100 MB is not tokenized as a whole."""
    return text[:MAX_CHARACTERS]


def sort_labels(names: set[str]) -> tuple[str, ...]:
    """Labels in ascending order; integers by value."""
    if all(INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def flatten_rows(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Concatenated rows (int32), and the offset of each row and of the end (int64)."""
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = np.fromiter((item for row in rows for item in row), dtype=np.int32, count=offsets[-1])
    return flat, offsets
