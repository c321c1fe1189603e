"""Which trained models stay on disk: during a search as many as fit, at its end those that the
study file names.

During a search any model can still be deployed in another way, so those that do not fit in the disk
space are deleted in the order of their use: first the latest ones of the front. The teacher of
others (:mod:`autotune.tuner.teacher`) is kept before all. What is deleted is
a pure function of the study and its trials, and recorded in the store: to be deployed again, such a
model has to be trained again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune.analysis.front import find_baseline, pareto_front
from autotune.domain import State, Study, Trial
from autotune.levers import training_key
from autotune.ports import Store
from autotune.trial.model_files import MODEL, delete_model
from autotune.tuner.teacher import find_best_candidate

GIGABYTE = 10**9


class ModelRetention:
    """Deletes the models of one study whose trials have their folders below ``directory``."""

    def __init__(self, study: Study, store: Store, directory: Path) -> None:
        self._study, self._store, self._folder = study, store, directory / study.name
        self._deleted: list[Trial] = []

    def enforce(self, history: Sequence[Trial], *, has_ended: bool) -> None:
        """Delete what is not kept. ``has_ended``: the search is over."""
        for trial in unwanted_models(self._study, history, has_ended=has_ended):
            self._store.forget_model(self._study.name, trial.number)
            delete_model(self._folder / f"{trial.number:04d}")
            self._deleted.append(trial)

    def describe(self, history: Sequence[Trial]) -> str | None:
        """What was deleted and what is kept, in words; ``None`` if there was no model."""
        kept = [trial for trial in history if trial.result.model is not None]
        parts = []
        if kept:
            where = self._folder / f"{kept[0].number:04d}" / MODEL
            parts.append(f"{_models(kept)} kept, such as {where}")
        if self._deleted:
            rule = f"keep: {self._study.keep.models}, {self._study.keep.gigabytes:g} GB"
            parts.append(f"{_models(self._deleted)} deleted ({rule})")
        return "; ".join(parts) or None


def unwanted_models(study: Study, history: Sequence[Trial], *, has_ended: bool) -> list[Trial]:
    """The trials whose models are to be deleted."""
    saved = [trial for trial in history if trial.result.model is not None]
    if not saved:
        return []
    front = {_training(trial) for trial in pareto_front(study, history)}
    teacher = find_best_candidate(study, history)
    candidates = saved
    if has_ended and study.keep.models != "all":
        is_front = study.keep.models == "front"
        candidates = [t for t in saved if is_front and (_training(t) in front or t is teacher)]
    default = find_baseline(study, history)
    first = {_training(t) for t in history if t.state is State.RUNNING}
    first |= {_training(default)} if default is not None else set()
    ranked = sorted(
        candidates,
        key=lambda t: (
            t is not teacher, _training(t) not in front, _training(t) not in first, -t.number
        ),
    )  # fmt: skip
    kept, used = set(), 0
    for trial in ranked:
        size = _size(trial)
        if used + size <= study.keep.gigabytes * GIGABYTE:
            kept.add(trial.number)
            used += size
    return [trial for trial in saved if trial.number not in kept]


def _training(trial: Trial) -> tuple[str, int]:
    return training_key(trial.strategy), trial.seed


def _size(trial: Trial) -> int:
    return 0 if trial.result.model is None else trial.result.model.size_bytes


def _models(trials: Sequence[Trial]) -> str:
    """``4 trained models (0.36 GB)``."""
    size = sum(map(_size, trials)) / GIGABYTE
    return f"{len(trials)} trained model{'s' * (len(trials) != 1)} ({size:.2g} GB)"
