"""The task kinds: what a model can be fine-tuned for.

To add a kind, add a module to ``autotune/trial/tasks`` and one record here. Plug-ins add kinds with
:func:`autotune.plugins.register_task_kind`. The records import neither torch nor the
implementations, so that a study file can be checked without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autotune.domain.metrics import METRICS
from autotune.domain.registry import Registry
from autotune.domain.study import Columns

TUNED = "auto"
"""The value of ``task.threshold`` for one that is tuned on the validation split."""


@dataclass(frozen=True)
class TaskKind:
    """``implementation`` is a class (or its ``"module:name"``) that fulfils
    :class:`autotune.trial.tasks.base.TaskType`.

    - ``scores``: the metrics that it computes from predictions.
    - ``label_per_token``: whether each token has a label, or else each sample.
    - ``has_text_pair``: whether a sample may be two texts.
    - ``has_labels``: whether labels have names, or are numbers or texts.
    - ``columns``: the usual names of its columns, which the study file can replace.
    - ``loss``: a function, or its ``"module:name"``, as those of :mod:`autotune.trial.loss`.
    - ``loss_unit``: the unit of the loss.
    - ``predicts_classes``: whether predictions are the classes of the largest logits, or else the
      logits.
    - ``predicts_spans``: whether a sample's labels are the first and last token of a span of it.
    - ``threshold_range``: the limits of ``task.threshold``; ``None`` for a kind without one. Its
      implementation is a :class:`autotune.trial.tasks.base.ThresholdTask`.
    """

    name: str
    summary: str
    implementation: Callable[[], Any] | str
    scores: tuple[str, ...] = ("accuracy",)
    label_per_token: bool = False
    has_text_pair: bool = False
    has_labels: bool = True
    columns: Columns = field(default_factory=Columns)
    loss: Callable[..., Any] | str = "autotune.trial.loss:cross_entropy"
    loss_unit: str = "nats"
    predicts_classes: bool = True
    predicts_spans: bool = False
    threshold_range: tuple[float, float] | None = None

    @property
    def logits_per_token(self) -> bool:
        """Whether the model has logits for each token, or else for each sample."""
        return self.label_per_token or self.predicts_spans


TASK_KINDS: Registry[TaskKind] = Registry("task kind", (
    TaskKind(
        "text-classification",
        "One label for each text or pair of texts",
        "autotune.trial.tasks.text_classification:TextClassification",
        scores=("accuracy", "f1", "mcc"),
        has_text_pair=True,
    ),
    TaskKind(
        "token-classification",
        "One label for each token, such as named entities in BIO notation",
        "autotune.trial.tasks.token_classification:TokenClassification",
        scores=("accuracy", "f1"),
        label_per_token=True,
    ),
    TaskKind(
        "regression",
        "A number for each text or pair of texts",
        "autotune.trial.tasks.regression:Regression",
        scores=("pearson", "spearman", "rmse"),
        has_text_pair=True,
        has_labels=False,
        loss="autotune.trial.loss:squared_error",
        loss_unit="squared error",
        predicts_classes=False,
    ),
    TaskKind(
        "multi-label",
        "Any number of labels for each text or pair of texts",
        "autotune.trial.tasks.multi_label:MultiLabel",
        scores=("accuracy", "f1", "f1_micro", "ranking_precision"),
        has_text_pair=True,
        loss="autotune.trial.loss:binary_cross_entropy",
        predicts_classes=False,
        threshold_range=(0.0, 1.0),
    ),
    TaskKind(
        "question-answering",
        "A span of a context that answers a question, or none, as in SQuAD",
        "autotune.trial.tasks.question_answering:QuestionAnswering",
        scores=("exact_match", "f1", "has_answer_f1"),
        has_text_pair=True,
        has_labels=False,
        columns=Columns("question", "context", "answers"),
        loss="autotune.trial.loss:span_cross_entropy",
        predicts_classes=False,
        predicts_spans=True,
        threshold_range=(-math.inf, math.inf),
    ),
))  # fmt: skip


def has_metric(task_kind: str, metric: str) -> bool:
    """Whether trials of ``task_kind`` can report ``metric``."""
    record = METRICS[metric]
    if record.base is not None:
        return has_metric(task_kind, record.base)
    if record.score is not None:
        return not record.tasks or task_kind in record.tasks
    is_score = any(metric in kind.scores for kind in TASK_KINDS.values())
    return not is_score or metric in TASK_KINDS[task_kind].scores
