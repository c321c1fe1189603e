"""Which trained models stay on disk: during a search as many as fit, at its end those that the
study file names.

During a search any model can still be deployed in another way, so those that do not fit in the disk
space are deleted in the order of their use: first the latest ones of the front. The teacher of
others (:mod:`autotune.tuner.teacher`) is kept before all. What is deleted is
a pure function of the study and its trials, and recorded in the store: to be deployed again, such a
model has to be trained again.

What deployments have made of the models, pruned copies and graphs, stays in the space that the
models leave, and graphs until the search ends. It can be made again in seconds, so it is not in the
store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from autotune.analysis.front import find_baseline, pareto_front
from autotune.analysis.recommendation import PICKS, Recommender
from autotune.domain import State, Study, Trial
from autotune.errors import NotFoundError
from autotune.levers import training_key
from autotune.ports import Store
from autotune.trial.model_files import (
    MODEL,
    delete,
    delete_model,
    derived_paths,
    disk_bytes,
    is_draft,
    is_pruned_copy,
)
from autotune.tuner.teacher import find_best_candidate

GIGABYTE = 10**9


class ModelRetention:
    """Deletes the models of one study whose trials have their folders below ``directory``."""

    def __init__(self, study: Study, store: Store, directory: Path) -> None:
        self._study, self._store, self._directory = study, store, directory / study.name
        self._deleted: list[Trial] = []
        self._deleted_copies = 0

    def enforce(self, history: Sequence[Trial], *, has_ended: bool) -> None:
        """Delete what is not kept. ``has_ended``: the search is over."""
        unwanted = unwanted_models(self._study, history, has_ended=has_ended)
        for trial in unwanted:
            self._store.forget_model(self._study.name, trial.number)
            delete_model(self._folder(trial))
            self._deleted.append(trial)
        numbers = {trial.number for trial in unwanted}
        kept = [trial for trial in _saved(history) if trial.number not in numbers]
        if has_ended:
            self._delete_remains(history, kept)
        ranked = _rank(self._study, history, kept, has_ended=has_ended)
        self._limit_derived(ranked, history, has_ended=has_ended)

    def _delete_remains(self, history: Sequence[Trial], kept: Sequence[Trial]) -> None:
        """Delete what workers left that died with their driver: models that no trial has
        recorded."""
        numbers = {trial.number for trial in kept}
        for trial in history:
            if trial.state.is_finished and trial.number not in numbers:
                delete_model(self._folder(trial))

    def _limit_derived(
        self, ranked: Sequence[Trial], history: Sequence[Trial], *, has_ended: bool
    ) -> None:
        """Delete pruned copies and graphs that do not fit beside the models in ``ranked``, and all
        graphs at the end. What running trials deploy stays."""
        used, running = sum(map(_size, ranked)), _running(history)
        for trial in ranked:
            is_running = _training(trial) in running
            for path in derived_paths(self._folder(trial)):
                size, is_copy = disk_bytes(path), is_pruned_copy(path)
                fits = used + size <= self._study.keep.gigabytes * GIGABYTE
                may_stay = not has_ended or (is_copy and not is_draft(path))
                if is_running or (fits and may_stay):
                    used += size
                else:
                    delete(path)
                    self._deleted_copies += is_copy

    def describe(self, history: Sequence[Trial]) -> str | None:
        """What was deleted and what is kept, in words; ``None`` if there was no model."""
        kept = _saved(history)
        rule = f"keep: {self._study.keep.models}, {self._study.keep.gigabytes:g} GB"
        parts = []
        if kept:
            folders = [self._folder(trial) for trial in kept]
            derived = sum(disk_bytes(path) for f in folders for path in derived_paths(f))
            parts.append(f"{_models(kept, derived)} kept, such as {folders[0] / MODEL}")
        if self._deleted:
            parts.append(f"{_models(self._deleted)} deleted ({rule})")
        if self._deleted_copies:
            copies = "copy" if self._deleted_copies == 1 else "copies"
            parts.append(f"{self._deleted_copies} pruned {copies} deleted ({rule})")
        return "; ".join(parts) or None

    def _folder(self, trial: Trial) -> Path:
        return self._directory / f"{trial.number:04d}"


def unwanted_models(study: Study, history: Sequence[Trial], *, has_ended: bool) -> list[Trial]:
    """The trials whose models are to be deleted."""
    saved = _saved(history)
    if not saved:
        return []
    candidates = saved
    if has_ended and study.keep.models != "all":
        front = _wanted(study, history, has_ended=True)
        teacher = find_best_candidate(study, history)
        is_front = study.keep.models == "front"
        candidates = [t for t in saved if is_front and (_training(t) in front or t is teacher)]
    running = _running(history)  # what they deploy stays, also beyond the limit
    deployed = [trial for trial in saved if _training(trial) in running]
    kept, used = {trial.number for trial in deployed}, sum(map(_size, deployed))
    trainings = _trainings(deployed)  # each of them, repeated for its speed alone, is kept once
    for trial in _rank(study, history, candidates, has_ended=has_ended):
        size = _size(trial)
        if _training(trial) not in trainings and used + size <= study.keep.gigabytes * GIGABYTE:
            kept.add(trial.number)
            trainings.add(_training(trial))
            used += size
    return [trial for trial in saved if trial.number not in kept]


def _rank(
    study: Study, history: Sequence[Trial], saved: Sequence[Trial], *, has_ended: bool
) -> list[Trial]:
    """``saved``, first what is needed most."""
    front = _wanted(study, history, has_ended=has_ended)
    teacher = find_best_candidate(study, history)
    default = find_baseline(study, history)
    first = _running(history) | ({_training(default)} if default is not None else set())
    return sorted(
        saved,
        key=lambda t: (
            t is not teacher, _training(t) not in front, _training(t) not in first, -t.number
        ),
    )  # fmt: skip


def _wanted(study: Study, history: Sequence[Trial], *, has_ended: bool) -> set[tuple[str, int]]:
    """The trainings of the front, and at the end of what is recommended: by its posterior mean, a
    trial that the measured ones dominate can be the knee."""
    trials = list(pareto_front(study, history))
    if has_ended:
        recommender = Recommender(study, history)
        for goal in ("knee", *PICKS):
            with suppress(NotFoundError):
                trials.append(recommender.recommend(goal).trial)
    return _trainings(trials)


def _saved(history: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in history if trial.result.model is not None]


def _running(history: Sequence[Trial]) -> set[tuple[str, int]]:
    return _trainings(t for t in history if t.state is State.RUNNING)


def _trainings(trials: Iterable[Trial]) -> set[tuple[str, int]]:
    return {_training(trial) for trial in trials}


def _training(trial: Trial) -> tuple[str, int]:
    return training_key(trial.strategy), trial.seed


def _size(trial: Trial) -> int:
    return 0 if trial.result.model is None else trial.result.model.size_bytes


def _models(trials: Sequence[Trial], derived_bytes: int = 0) -> str:
    """``4 trained models (0.36 GB)``."""
    size = (sum(map(_size, trials)) + derived_bytes) / GIGABYTE
    return f"{len(trials)} trained model{'s' * (len(trials) != 1)} ({size:.2g} GB)"
