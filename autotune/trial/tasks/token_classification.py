"""Token classification: a tag per token, for named entities in BIO notation or any other tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.errors import DataError
from autotune.trial import metrics
from autotune.trial.tables import Table
from autotune.trial.tasks.base import (
    IGNORE_INDEX,
    Arrays,
    Examples,
    flatten_rows,
    get_column,
    parse_label,
    sort_labels,
)

Span = tuple[int, int, str]
"""First token, token after the last, entity type."""


class TokenClassification:
    """Inputs are lists of words, labels are tuples of tags of the same length.

    The column ``task.columns.text`` has the words, ``label`` the tags. The first token of a word
    has its tag. The other tokens, and words without tokens, are not evaluated.
    """

    auto_class = "AutoModelForTokenClassification"
    tokenizer_options: Mapping[str, Any] = MappingProxyType({"add_prefix_space": True})

    def parse(self, table: Table, columns: Columns) -> Examples:
        tokens = get_column(table, columns.text, "text")
        tags = get_column(table, columns.label, "label")
        classes = table.classes.get(columns.label)
        rows = range(len(table))
        inputs = [_tokens(tokens[row], columns.text, table.where(row)) for row in rows]
        labels = [_tags(tags[row], inputs[row], classes, table.where(row)) for row in rows]
        return Examples(inputs, labels)

    def to_row(
        self, inputs: Sequence[str], labels: tuple[str, ...], columns: Columns
    ) -> Mapping[str, Any]:
        return {columns.text: list(inputs), columns.label: list(labels)}

    def example_labels(self, labels: tuple[str, ...]) -> Sequence[str]:
        return labels

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        tags = {tag for row in train.labels for tag in row}
        return tuple(table.classes.get(columns.label) or sort_labels(tags))

    def stratum(self, labels: tuple[str, ...]) -> str:
        return "entities" if any(tag != "O" for tag in labels) else "none"

    def encode(
        self, tokenizer: Any, examples: Examples, ids: Mapping[str, int], max_length: int
    ) -> Arrays:
        encoded = tokenizer(
            list(examples.inputs),
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        tokens, offsets = flatten_rows(encoded["input_ids"])
        labels = [
            _token_labels(encoded.word_ids(row), tags, ids)
            for row, tags in enumerate(examples.labels)
        ]
        return {
            "tokens": tokens,
            "offsets": offsets,
            "labels": flatten_rows(labels)[0].astype(np.int64),
        }

    def scores(
        self,
        labels: np.ndarray,
        predictions: np.ndarray,
        offsets: np.ndarray,
        label_names: Sequence[str],
    ) -> dict[str, Measurement]:
        """``accuracy`` of words; ``f1`` of entities over all types (both ends and the type must
        match), with a bootstrap interval over sentences."""
        is_evaluated = labels != IGNORE_INDEX
        accuracy = float((labels == predictions)[is_evaluated].mean())
        num_words = int(is_evaluated.sum())
        counts = np.array(
            [
                _entity_counts(labels[a:b], predictions[a:b], label_names)
                for a, b in pairwise(offsets)
            ]
        )
        resamples = np.random.default_rng(0).multinomial(
            len(counts), np.full(len(counts), 1 / len(counts)), size=metrics.RESAMPLES
        )
        f1, interval = _f1(counts.sum(axis=0)), metrics.percentile_interval(_f1(resamples @ counts))
        return {
            "accuracy": Measurement(
                "accuracy",
                accuracy,
                "ratio",
                num_words,
                metrics.wilson_interval(accuracy, num_words),
            ),
            "f1": Measurement("f1", float(f1), "ratio", int(counts[:, 1].sum()), interval),
        }


def entities(tags: Sequence[str]) -> Iterator[Span]:
    """The entities in a sentence of BIO tags. An ``I-`` without predecessor starts an entity, as in
    the CoNLL evaluation; a tag without a prefix is an entity of one word."""
    start, kind = 0, ""
    for index, tag in enumerate([*tags, "O"]):
        prefix, _, rest = tag.partition("-")
        if kind and not (prefix == "I" and rest == kind):
            yield start, index, kind
            kind = ""
        if not kind and tag != "O":
            start, kind = index, rest or tag


def _entity_counts(
    labels: np.ndarray, predictions: np.ndarray, label_names: Sequence[str]
) -> tuple[int, int, int]:
    """Entities of one sentence: correctly predicted, actual, predicted."""
    is_evaluated = labels != IGNORE_INDEX
    actual = set(entities([label_names[i] for i in labels[is_evaluated]]))
    predicted = set(entities([label_names[i] for i in predictions[is_evaluated]]))
    return len(actual & predicted), len(actual), len(predicted)


def _f1(counts: np.ndarray) -> np.ndarray:
    """F1 of ``[..., (correct, actual, predicted)]``; 0 if there are no entities at all."""
    total = counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], total, out=np.zeros(total.shape), where=total > 0)


def _token_labels(
    words: Sequence[int | None], tags: Sequence[str], ids: Mapping[str, int]
) -> list[int]:
    """The label of each token, from the index of its word (``None``: special token)."""
    previous_words: Sequence[int | None] = [None, *words]
    return [
        IGNORE_INDEX if word is None or word == previous else ids[tags[word]]
        for word, previous in zip(words, previous_words, strict=False)
    ]


def _tokens(value: Any, name: str, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise DataError(
            f"{where}: {name} is not a list of tokens: {value!r:.40}",
            hint='rows look like {"tokens": ["a", "b"], "tags": ["O", "O"]}, '
            "with task.columns: {text: tokens, label: tags}",
        )
    if not any(token.strip() for token in value):
        raise DataError(f"{where}: {name} is empty", hint="drop the rows without tokens")
    return value


def _tags(
    value: Any, tokens: Sequence[str], classes: Sequence[str] | None, where: str
) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) != len(tokens):
        tags = f"{len(value)} tags" if isinstance(value, list) else f"{value!r:.40}"
        raise DataError(
            f"{where}: {tags} for {len(tokens)} tokens", hint="give each token exactly one tag"
        )
    if classes is not None:
        return tuple(classes[tag] for tag in value)
    return tuple(parse_label(tag, where) for tag in value)
