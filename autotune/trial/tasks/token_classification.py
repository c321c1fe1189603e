"""Token classification: a tag per token, for named entities in BIO notation or any other tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.errors import DataError
from autotune.trial import metrics
from autotune.trial.contributions import contributions, rounded
from autotune.trial.labels import clean_labels
from autotune.trial.split import Split
from autotune.trial.tables import Table
from autotune.trial.tasks.base import (
    IGNORE_INDEX,
    INTEGER,
    MAX_CHARACTERS,
    Arrays,
    Examples,
    class_name,
    cut_text,
    flatten_rows,
    get_column,
    is_evaluated,
    parse_label,
    require_fast,
    sort_labels,
)

Span = tuple[int, int, str]
"""First token, token after the last, entity type."""

OUTSIDE = "O"
CONTINUES, ENDS = ("I", "M", "E", "L"), ("E", "L", "S", "U")
BIO = re.compile(r"([BI])-(.+)")
SCHEMES = (BIO, *map(re.compile, (r"([BIESLUM])-(.+)", r"([BIESLUM])_(.+)", r"([BIESLUM])()")))
"""Tags with a prefix and a type: BIO, BIOES (BILOU, BMES), with ``_``, and without types."""

NO_TYPE = "entity"


class TokenClassification:
    """Inputs are lists of words, labels are tuples of tags of the same length.

    The column ``task.columns.text`` has the words, ``label`` the tags. The first token of a word
    has its tag. The other tokens, and words without tokens, are not evaluated.
    """

    auto_class = "AutoModelForTokenClassification"
    problem_type: str | None = None
    tokenizer_options: Mapping[str, Any] = MappingProxyType({"add_prefix_space": True})

    def clean(
        self, tables: Mapping[str, Table], columns: Columns
    ) -> tuple[dict[str, Table], list[str]]:
        return clean_labels(tables, columns)

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
        if declared := table.classes.get(columns.label):
            return tuple(declared)
        if all(INTEGER.fullmatch(tag) for tag in tags):
            raise DataError(
                f"{table.name}: the tags in {columns.label} are numbers without names, so entities "
                "cannot be told from other words",
                hint="name them in their order: task.labels: [O, B-PER, I-PER, ...]",
            )
        return sort_labels(tags)

    def stratum(self, labels: tuple[str, ...]) -> str:
        return "entities" if any(tag != "O" for tag in labels) else "none"

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        ids: Mapping[str, int],
        max_length: int,
        stride: int | None = None,
    ) -> Arrays:
        require_fast(tokenizer, "token classification")
        encoded = tokenizer(
            [_cut_words(words) for words in examples.inputs],
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
        self, split: Split, values: np.ndarray, label_names: Sequence[str]
    ) -> dict[str, Measurement]:
        """``accuracy`` of words; ``f1`` of entities over all types (both ends and the type must
        match), with a bootstrap interval over sentences."""
        hits, labels = self.hits(split, values), split.labels
        accuracy, num_words = float(hits.mean()), len(hits)
        counts = np.array(
            [
                _entity_counts(labels[a:b], values[a:b], label_names)
                for a, b in pairwise(split.offsets)
            ]
        )
        blocks = metrics.resample(np.ones(len(counts), dtype=np.int64))
        resampled = np.concatenate([_f1(block @ counts) for block in blocks])
        f1, interval = _f1(counts.sum(axis=0)), metrics.percentile_interval(resampled)
        return {
            "accuracy": Measurement(
                "accuracy",
                accuracy,
                "ratio",
                num_words,
                metrics.wilson_interval(accuracy, num_words),
            ),
            "f1": Measurement(
                "f1",
                float(f1),
                "ratio",
                int(counts[:, 1].sum()),
                interval,
                rounded(contributions(counts, _f1)),
            ),
        }

    def hits(self, split: Split, values: np.ndarray) -> np.ndarray:
        return np.asarray((values == split.labels)[is_evaluated(split.labels)])

    def decode(self, split: Split, values: np.ndarray) -> tuple[Any, Any]:
        return split.labels, values


def entities(tags: Sequence[str], names: Sequence[str] | None = None) -> Iterator[Span]:
    """The entities in a sentence of tags, in the scheme that ``names``, all tags of the task, are
    in (default: ``tags``).

    In BIO tags an ``I-`` without predecessor starts an entity, as in the CoNLL evaluation. In BIOES
    tags (BILOU, BMES) ``E-`` and ``L-`` end one, ``S-`` and ``U-`` are one of one word. A tag
    without a prefix is an entity of one word.
    """
    parse = _scheme(tuple(tags if names is None else names))
    start, kind = 0, ""
    for index, tag in enumerate([*tags, OUTSIDE]):
        prefix, entity_type = parse(tag)
        if kind and not (prefix in CONTINUES and entity_type == kind):
            yield start, index, kind
            kind = ""
        if not kind and tag != OUTSIDE:
            start, kind = index, entity_type
        if kind and prefix in ENDS:
            yield start, index + 1, kind
            kind = ""


@lru_cache(maxsize=16)
def _scheme(names: tuple[str, ...]) -> Callable[[str], tuple[str, str]]:
    """A function from a tag to its prefix and type. Prefixes other than B and I count only where
    all tags have one and some begin an entity: ``S-bahn`` and ``S`` can be names."""
    inside = [name for name in names if name != OUTSIDE]
    begins = any(name.startswith(("B", "I")) for name in inside)
    complete = (scheme for scheme in SCHEMES if begins and all(map(scheme.fullmatch, inside)))
    pattern = next(complete, BIO)

    def parse(tag: str) -> tuple[str, str]:
        match = pattern.fullmatch(tag)
        return ("", tag) if match is None else (match[1], match[2] or NO_TYPE)

    return parse


def _entity_counts(
    labels: np.ndarray, predictions: np.ndarray, label_names: Sequence[str]
) -> tuple[int, int, int]:
    """Entities of one sentence: correctly predicted, actual, predicted."""
    mask = is_evaluated(labels)
    actual = set(entities([label_names[i] for i in labels[mask]], label_names))
    predicted = set(entities([label_names[i] for i in predictions[mask]], label_names))
    return len(actual & predicted), len(actual), len(predicted)


def _f1(counts: np.ndarray) -> np.ndarray:
    """F1 of ``[..., (correct, actual, predicted)]``; 0 if there are no entities at all."""
    total = counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], total, out=np.zeros(total.shape), where=total > 0)


def _cut_words(words: Sequence[str]) -> list[str]:
    """The words, and the parts of them, that can matter."""
    ends = np.cumsum([len(word) + 1 for word in words])
    return [cut_text(word) for word in words[: 1 + int((ends <= MAX_CHARACTERS).sum())]]


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
        return tuple(class_name(classes, tag, where) for tag in value)
    return tuple(parse_label(tag, where) for tag in value)
