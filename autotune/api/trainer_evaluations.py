"""``load_best_model_at_end`` of a user's ``Trainer``: its trials evaluate as it does, and their
scores are those of the best weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import IntervalStrategy

from autotune.domain import BEST_STEP, Phase, Task
from autotune.domain.metrics import METRICS
from autotune.importers.base import ImportedConfig
from autotune.importers.evaluations import read_evaluations
from autotune.trial.recorder import TrialRecorder

TRIAL_ARGUMENTS: Mapping[str, Any] = {
    "push_to_hub": False,
    "report_to": [],
    "disable_tqdm": True,
    "logging_steps": 25,
}
"""Arguments of every trial: it reports to no service."""

NO_EVALUATIONS: Mapping[str, Any] = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "load_best_model_at_end": False,
}
BEST_WEIGHTS: Mapping[str, Any] = {
    "save_strategy": "best",
    "save_only_model": True,
    "save_total_limit": 1,
}


def trial_arguments(arguments: TrainingArguments) -> dict[str, Any]:
    """The arguments of a trial that differ from the user's. It evaluates during training only if
    the best weights count, and writes no other weights."""
    evaluations = BEST_WEIGHTS if arguments.load_best_model_at_end else NO_EVALUATIONS
    return {**TRIAL_ARGUMENTS, **evaluations}


def add_evaluations(task: Task, arguments: TrainingArguments) -> Task:
    """``task`` with the evaluations and the metric of ``arguments``, if the best weights count."""
    config = ImportedConfig("Trainer", task={"epochs": task.epochs})
    if arguments.max_steps > 0:
        config.task["steps"] = arguments.max_steps
    names = ("load_best_model_at_end", "eval_strategy", "eval_steps", "metric_for_best_model")
    options = {name: getattr(arguments, name) for name in names}
    read_evaluations(
        config, {**options, "eval_strategy": IntervalStrategy(arguments.eval_strategy).value}
    )
    return replace(
        task,
        evaluate_every=config.task.get("evaluate_every"),
        best_metric=config.task.get("best_metric"),
    )


def trial_scores(metrics: Mapping[str, float] | None, prefix: str) -> dict[str, float]:
    """The scores that autotune or the user has named, without the ``prefix`` of Trainer."""
    names = {name.removeprefix(f"{prefix}_"): value for name, value in (metrics or {}).items()}
    return {
        name: float(value)
        for name, value in names.items()
        if name in METRICS and METRICS[name].phase is Phase.TRAIN
    }


def record_best_step(trainer: Trainer, recorder: TrialRecorder) -> None:
    """Record after which step the weights were the best, if these count."""
    step = trainer.state.best_global_step
    if trainer.args.load_best_model_at_end and step is not None:
        recorder.environment[BEST_STEP] = step
        recorder.add_event(
            "best",
            f"the evaluation after step {step} of {trainer.state.global_step} was the best: its "
            "weights count",
        )


@contextmanager
def temporary_checkpoints(folder: Path) -> Iterator[None]:
    """Deletes the weights that Trainer has written to ``folder``."""
    try:
        yield
    finally:
        for path in folder.glob("checkpoint-*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
