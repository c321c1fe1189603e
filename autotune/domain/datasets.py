"""The data sets whose task kind, columns and splits follow from their names.

To add one, add one line to :data:`NAMED_DATASETS`. Its name is what ``task.dataset`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotune.domain.study import Columns

TRAINER_DATASET = "trainer:"
"""How ``task.dataset`` begins in studies of a Trainer that the user has built."""


@dataclass(frozen=True)
class NamedDataset:
    """``hub`` are the name of the data set on the hub and of its configuration, if it has several;
    empty for a built-in one. ``splits`` are the hub's names of splits, where these are not train,
    validation and test."""

    kind: str
    columns: Columns
    hub: tuple[str, ...] = ()
    splits: Mapping[str, str] = field(default_factory=dict)


def _glue(
    name: str, text: str, text_pair: str | None = None, kind: str = "text-classification"
) -> NamedDataset:
    splits = {"validation": "validation_matched", "test": "test_matched"} if name == "mnli" else {}
    return NamedDataset(kind, Columns(text, text_pair), ("nyu-mll/glue", name), splits)


def _super_glue(name: str, text: str, text_pair: str) -> NamedDataset:
    return NamedDataset("text-classification", Columns(text, text_pair), ("aps/super_glue", name))


_PAIR = Columns("text", "text_pair")
_SPAN = Columns("question", "context", "answers")

NAMED_DATASETS: Mapping[str, NamedDataset] = {
    "glue/cola": _glue("cola", "sentence"),
    "glue/mnli": _glue("mnli", "premise", "hypothesis"),
    "glue/mrpc": _glue("mrpc", "sentence1", "sentence2"),
    "glue/qnli": _glue("qnli", "question", "sentence"),
    "glue/qqp": _glue("qqp", "question1", "question2"),
    "glue/rte": _glue("rte", "sentence1", "sentence2"),
    "glue/sst2": _glue("sst2", "sentence"),
    "glue/stsb": _glue("stsb", "sentence1", "sentence2", "regression"),
    "glue/wnli": _glue("wnli", "sentence1", "sentence2"),
    "super_glue/boolq": _super_glue("boolq", "question", "passage"),
    "super_glue/cb": _super_glue("cb", "premise", "hypothesis"),
    "super_glue/rte": _super_glue("rte", "premise", "hypothesis"),
    "conll2003": NamedDataset(
        "token-classification", Columns("tokens", None, "ner_tags"), ("lhoestq/conll2003",)
    ),
    "squad": NamedDataset("question-answering", _SPAN, ("rajpurkar/squad",)),
    "squad_v2": NamedDataset("question-answering", _SPAN, ("rajpurkar/squad_v2",)),
    "builtin:docstring-pairs": NamedDataset("text-classification", _PAIR),
    "builtin:docstring-shares": NamedDataset("regression", Columns()),
    "builtin:docstring-mixtures": NamedDataset("multi-label", Columns()),
    "builtin:docstring-questions": NamedDataset("question-answering", _SPAN),
    "go_emotions": NamedDataset(
        "multi-label", Columns("text", None, "labels"), ("google-research-datasets/go_emotions",)
    ),
}
"""Of SuperGLUE, the tasks that are a pair of texts with a label. The others (COPA, MultiRC, ReCoRD,
WiC, WSC) have three texts, or marked words."""
