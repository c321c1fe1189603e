"""The teacher of a study: the most accurate of its first trained models.

It is chosen once, from the first :data:`CANDIDATES` trials that trained a model, so that all trials
with ``distillation`` learn the same logits and can be compared. In a space with fewer trainings it
is chosen from those before the first trial that learns from it (a *student*). It is a pure function
of the trials in the store: a resumed search has the same teacher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from autotune.domain import Phase, State, Study, Trial, TrialOrigin
from autotune.domain.metrics import METRICS
from autotune.domain.tasks import TASK_KINDS
from autotune.tuner.cache import measured_phases

CANDIDATES = 6
"""Trained models among which the teacher is chosen: about a quarter of a short search."""

_NEVER = datetime.max.replace(tzinfo=UTC)


def find_teacher(study: Study, history: Sequence[Trial]) -> Trial | None:
    """The trial whose model other trials of ``study`` learn from; ``None`` before there are enough
    trials or a student, if its model was deleted, and for a study that does not need one."""
    is_chosen = len(_candidates(study, history)) == CANDIDATES or any(map(_is_student, history))
    return find_available_candidate(study, history) if is_chosen else None


def find_available_candidate(study: Study, history: Sequence[Trial]) -> Trial | None:
    """:func:`find_best_candidate`, unless its model was deleted."""
    best = find_best_candidate(study, history)
    return None if best is None or best.result.model is None else best


def find_best_candidate(study: Study, history: Sequence[Trial]) -> Trial | None:
    """The trial that is the teacher, or would be if there were no further candidates."""
    candidates = _candidates(study, history)
    return _most_accurate(study, candidates) if candidates else None


def _candidates(study: Study, history: Sequence[Trial]) -> list[Trial]:
    """The first trials, in the order in which they ended, that trained a model on the labels."""
    if not study.has_own_teacher:
        return []
    end = min((trial.number for trial in history if _is_student(trial)), default=math.inf)
    trained = [trial for trial in history if trial.number < end and _is_candidate(study, trial)]
    trained.sort(key=lambda trial: (trial.finished_at or _NEVER, trial.number))
    return trained[:CANDIDATES]


def _is_candidate(study: Study, trial: Trial) -> bool:
    return (
        trial.state is State.COMPLETE
        and trial.is_result
        and not trial.is_imported
        and trial.seed == study.task.seed
        and trial.strategy["distillation"] == 0
        and trial.metric(_score(study)) is not None
        and Phase.TRAIN in measured_phases(trial)
    )


def _is_student(trial: Trial) -> bool:
    """Whether ``trial`` was proposed to learn from a model of the study."""
    return trial.origin is TrialOrigin.SAMPLED and trial.strategy["distillation"] != 0


def _most_accurate(study: Study, candidates: Sequence[Trial]) -> Trial:
    score = _score(study)
    sign = 1 if METRICS[score].direction == "maximize" else -1
    return max(candidates, key=lambda trial: (sign * (trial.metric(score) or 0.0), -trial.number))


def _score(study: Study) -> str:
    """The first score of the kind of task: its accuracy, if it has one."""
    return TASK_KINDS[study.task.kind].scores[0]
