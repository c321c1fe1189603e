"""A tag for each token: named entities in the BIO notation, or any other tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.errors import DataError
from autotune.trial import metrics
from autotune.trial.data.tables import Table
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
"""First token, token after the last, type of entity."""


class TokenClassification:
    """Inputs are lists of tokens and labels tuples of tags, equally long.

    The column that ``task.columns.text`` names holds the tokens, ``label`` the tags. The first word
    piece of a token carries its tag; the others, and tokens that give no piece, are not judged.
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
        seen = {tag for tags in train.labels for tag in tags}
        return tuple(table.classes.get(columns.label) or sort_labels(seen))

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
            _first_pieces(encoded.word_ids(row), tags, ids)
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
        """``accuracy`` of tokens; ``f1`` of whole entities over all types (both ends and the type
        must be right), with a bootstrap interval over sentences."""
        judged = labels != IGNORE_INDEX
        accuracy = float((labels == predictions)[judged].mean())
        tokens = int(judged.sum())
        counts = np.array(
            [
                _entity_counts(labels[a:b], predictions[a:b], label_names)
                for a, b in pairwise(offsets)
            ]
        )
        draws = np.random.default_rng(0).multinomial(
            len(counts), np.full(len(counts), 1 / len(counts)), size=metrics.RESAMPLES
        )
        f1, interval = _f1(counts.sum(axis=0)), metrics.percentile_interval(_f1(draws @ counts))
        return {
            "accuracy": Measurement(
                "accuracy", accuracy, "ratio", tokens, metrics.wilson_interval(accuracy, tokens)
            ),
            "f1": Measurement("f1", float(f1), "ratio", int(counts[:, 1].sum()), interval),
        }


def entities(tags: Sequence[str]) -> Iterator[Span]:
    """The entities in a sentence of BIO tags. An ``I-`` that continues nothing begins an entity,
    as in the CoNLL evaluation; a tag without a prefix is an entity of one token."""
    begin, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, rest = tag.partition("-")
        if kind and not (prefix == "I" and rest == kind):
            yield begin, place, kind
            kind = ""
        if not kind and tag != "O":
            begin, kind = place, rest or tag


def _entity_counts(
    labels: np.ndarray, predictions: np.ndarray, label_names: Sequence[str]
) -> tuple[int, int, int]:
    """Entities of one sentence: found and right, there to find, found."""
    judged = labels != IGNORE_INDEX
    actual = set(entities([label_names[i] for i in labels[judged]]))
    found = set(entities([label_names[i] for i in predictions[judged]]))
    return len(actual & found), len(actual), len(found)


def _f1(counts: np.ndarray) -> np.ndarray:
    """F1 of ``[..., (right, actual, found)]``; 0 where nothing is to be found and nothing was."""
    both = counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], both, out=np.zeros(both.shape), where=both > 0)


def _first_pieces(
    words: Sequence[int | None], tags: Sequence[str], ids: Mapping[str, int]
) -> list[int]:
    """The label of each word piece, from the token (or none) that it is of."""
    before: Sequence[int | None] = [None, *words]
    return [
        IGNORE_INDEX if word is None or word == previous else ids[tags[word]]
        for word, previous in zip(words, before, strict=False)
    ]


def _tokens(value: Any, name: str, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise DataError(
            f"{where}: {name} is no list of tokens but {value!r:.40}",
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
        found = f"{len(value)} tags" if isinstance(value, list) else f"{value!r:.40}"
        raise DataError(
            f"{where}: {found} for {len(tokens)} tokens", hint="give each token exactly one tag"
        )
    if classes is not None:
        return tuple(classes[tag] for tag in value)
    return tuple(parse_label(tag, where) for tag in value)
