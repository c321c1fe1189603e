"""The teacher of a study is chosen once, by its trials alone, and its model is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import (
    Categorical,
    Dimension,
    Retention,
    SavedModel,
    State,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.tuner.retention import unwanted_models
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.started_trial import start_trial
from autotune.tuner.teacher import CANDIDATES, find_teacher
from autotune.tuner.warm_start import SourceStudy, next_import
from tests.tuner.small_study import finished_trial, make_turn

MODEL = SavedModel("0" * 64, 1000)


@pytest.fixture
def distilling(study: Study) -> Study:
    dimensions = (*study.space.dimensions, Dimension("distillation", Categorical((0.0, 0.5))))
    return replace(
        study, space=replace(study.space, dimensions=dimensions), keep=Retention("front")
    )


def history(study: Study, ratios: Sequence[float]) -> list[Trial]:
    """Trials that are the less accurate the more they prune, each with its model."""
    trials = [
        finished_trial(number, study.baseline.with_values(pruning_ratio=ratio))
        for number, ratio in enumerate(ratios)
    ]
    return [replace(trial, result=replace(trial.result, model=MODEL)) for trial in trials]


RATIOS = (0.75, 0.5, 0.25, 0.5, 0.6, 0.7, 0.0, 0.1)


def test_the_teacher_stays_the_best_of_the_first(distilling: Study) -> None:
    trials = history(distilling, RATIOS)
    teachers = [find_teacher(distilling, trials[:count]) for count in range(len(trials) + 1)]
    assert teachers[:CANDIDATES] == [None] * CANDIDATES
    assert [t.number for t in teachers[CANDIDATES:] if t is not None] == [2, 2, 2]


def test_trials_that_will_run_again_do_not_change_who_is_a_candidate(distilling: Study) -> None:
    """A sampler reads the history without them."""
    trials = history(distilling, (0.1, 0.2, *RATIOS[:CANDIDATES]))
    assert find_teacher(distilling, trials[2:]) is trials[4]


def test_only_trials_that_trained_on_labels_are_candidates(distilling: Study) -> None:
    trials = history(distilling, RATIOS[:CANDIDATES])
    changes_by_number: dict[int, dict[str, Any]] = {
        1: {"origin": TrialOrigin.IMPORTED},
        2: {
            "strategy": trials[2].strategy.with_values(distillation=0.5),
            "origin": TrialOrigin.ENQUEUED,
        },
        3: {"state": State.PRUNED},
        4: {"seed": 7},
    }
    for number, changes in changes_by_number.items():
        others = [replace(t, **changes) if t.number == number else t for t in trials]
        assert find_teacher(distilling, others) is None
    assert (
        find_teacher(replace(distilling, task=replace(distilling.task, teacher="x")), trials)
        is None
    )
    trials[2] = replace(trials[2], result=replace(trials[2].result, model=None))
    assert find_teacher(distilling, trials) is None


@pytest.mark.parametrize("kind", ["factored", "tpe", "grid"])
def test_distillation_is_proposed_once_there_is_a_teacher(distilling: Study, kind: str) -> None:
    study = replace(distilling, sampler=replace(distilling.sampler, kind=kind))
    sampler, proposals = make_sampler(study), []
    trials = history(study, RATIOS[:1])
    for number in range(1, 14):
        strategy = sampler.ask(trials)
        assert strategy is not None and strategy == make_sampler(study).ask(trials)
        proposals.append(strategy["distillation"])
        trial = finished_trial(number, strategy)
        trials.append(replace(trial, result=replace(trial.result, model=MODEL)))
    assert set(proposals[: CANDIDATES - 1]) == {0.0}
    assert 0.5 in proposals[CANDIDATES - 1 :]


def test_a_small_space_has_a_teacher_when_nothing_else_is_left(
    distilling: Study, tmp_path: Path
) -> None:
    """Three trainings without distillation, and three with it."""
    dimensions = (
        Dimension("pruning_ratio", Categorical((0.0, 0.25, 0.5))),
        Dimension("distillation", Categorical((0.0, 0.5))),
    )
    study = replace(distilling, space=replace(distilling.space, dimensions=dimensions))
    trials = history(study, (0.0, 0.5))
    strategy = make_sampler(study).ask(trials)
    assert strategy is not None and strategy["distillation"] == 0
    running = Trial(2, State.RUNNING, strategy)
    assert make_sampler(study).ask([*trials, running]) is None
    trials = history(study, (0.0, 0.5, 0.25))
    assert find_teacher(study, trials) is None
    for number in range(3, 6):
        student = make_sampler(study).ask(trials)
        assert student is not None and student["distillation"] == 0.5
        trial = Trial(number, State.RUNNING, student, origin=TrialOrigin.SAMPLED)
        job = start_trial(trial, make_turn(study, trials), tmp_path).job
        assert job.teacher is not None and job.teacher.trial == 0
        trials.append(finished_trial(number, student, origin=TrialOrigin.SAMPLED))
    assert make_sampler(study).ask(trials) is None


def test_jobs_name_the_teacher(distilling: Study, tmp_path: Path) -> None:
    trials = history(distilling, RATIOS)
    turn = make_turn(distilling, trials)
    student = distilling.baseline.with_values(distillation=0.5)
    job = start_trial(Trial(8, State.RUNNING, student), turn, tmp_path).job
    assert job.teacher is not None and job.teacher.trial == 2
    assert job.teacher.folder == str(tmp_path / "small" / "0002")
    assert (
        start_trial(Trial(8, State.RUNNING, distilling.baseline), turn, tmp_path).job.teacher
        is None
    )


def test_the_model_of_the_teacher_is_kept(distilling: Study) -> None:
    trials = history(distilling, RATIOS)
    small = replace(distilling, keep=Retention("front", 1500 / 1e9))
    for study in (distilling, small):
        for has_ended in (False, True):
            unwanted = unwanted_models(study, trials, has_ended=has_ended)
            assert 2 not in [trial.number for trial in unwanted]


def test_results_that_learned_from_another_study_are_not_imported(distilling: Study) -> None:
    trials = history(distilling, RATIOS[:2])
    trials[1] = replace(trials[1], strategy=distilling.baseline.with_values(distillation=0.5))
    own = replace(distilling, task=replace(distilling.task, teacher="hub/model"))
    for study, count in ((distilling, 0), (own, 1)):
        source = SourceStudy(study, trials[1:], True, {})
        proposal = next_import(source, study, trials[:1], lambda strategy: None)
        assert (proposal is not None) == bool(count)
