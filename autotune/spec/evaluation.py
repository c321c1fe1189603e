"""Resolves ``task.evaluate_every`` and ``task.best_metric``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from autotune.domain import Constraint, Objective, Phase, Task
from autotune.domain.metrics import METRICS
from autotune.domain.tasks import TASK_KINDS, has_metric
from autotune.domain.text import suggest
from autotune.spec.document import Document
from autotune.spec.task_section import TaskSpec


def with_evaluations(
    task: Task,
    spec: TaskSpec,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    document: Document,
) -> Task:
    """``task`` with its evaluations, and the metric that decides which one is the best: that of the
    file, or the first score among the objectives, the constraints and those of the kind."""
    every, path = spec.evaluate_every, ("task", "best_metric")
    if every is None:
        if spec.best_metric is not None:
            message = (
                "best_metric chooses among the evaluations of evaluate_every, which is not set"
            )
            document.add_error(path, message, key=True)
        return task
    if isinstance(every, int) and task.steps is not None and every >= task.steps:
        message = f"{every} steps are the whole training run of {task.steps}; give fewer"
        document.add_error(("task", "evaluate_every"), message)
    names = [*_scores(task.kind)]
    metric = spec.best_metric
    if metric is None:
        requested = [*(o.metric for o in objectives), *(c.metric for c in constraints)]
        metric = next(name for name in (*requested, *TASK_KINDS[task.kind].scores) if name in names)
    elif metric not in names:
        problem = f"{metric!r} is no score of {task.kind}"
        document.add_error(path, f"{problem}; {suggest(metric, names)}")
    return replace(task, evaluate_every=every, best_metric=metric)


def _scores(kind: str) -> Iterator[str]:
    """The metrics of an evaluation of the task kind."""
    for name, metric in METRICS.items():
        if metric.phase is Phase.TRAIN and name != "train_samples" and has_metric(kind, name):
            yield name
