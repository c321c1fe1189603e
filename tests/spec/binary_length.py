"""A plug-in: a task kind with two labels instead of those of the data set, and a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.domain import Columns, Phase
from autotune.domain.metrics import Metric, MetricKind
from autotune.domain.tasks import TaskKind
from autotune.plugins import register_metric, register_task_kind
from autotune.trial.tables import Table
from autotune.trial.tasks.base import Examples
from autotune.trial.tasks.text_classification import TextClassification


class LengthClassification(TextClassification):
    """Whether a text is longer than 100 characters."""

    def parse(self, table: Table, columns: Columns) -> Examples:
        examples = super().parse(table, columns)
        labels = ["long" if len(inputs[0]) > 100 else "short" for inputs in examples.inputs]
        return Examples(examples.inputs, labels)

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        return ("long", "short")


def mean_recall(labels: np.ndarray, predictions: np.ndarray, label_names: Sequence[str]) -> float:
    assert tuple(label_names) == ("long", "short")
    return float(np.mean([(predictions == c)[labels == c].mean() for c in np.unique(labels)]))


register_task_kind(TaskKind("length-classification", "Length of a text", LengthClassification))
register_metric(
    Metric(
        "mean_recall", "mean recall", "ratio", "maximize", Phase.TRAIN, "Mean recall of labels", 4,
        kind=MetricKind.SHARE, score=mean_recall, tasks=("length-classification",),
    )
)  # fmt: skip
