"""What a rung says about the score at the end, and which constraints it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from autotune.domain import Constraint, Study
from autotune.tuner.early_stopping import optimistic
from autotune.tuner.learning_curves import LearningCurves
from autotune.tuner.score_forecast import forecast_score
from tests.tuner.test_early_stopping import finished, profile, progress, rung

DEFAULT_CURVE = (0.80, 0.84)
"""The default's accuracy at the rung and at its end."""

KEEPS = Constraint("accuracy", ">=", -0.01, relative=True)
LIMIT = 0.83


def probability(
    score: float,
    fraction: float,
    others: Sequence[tuple[float, float]] = (DEFAULT_CURVE,),
    prediction: tuple[float, float] | None = None,
) -> float:
    forecast = forecast_score("accuracy", score, fraction, others, prediction)
    assert forecast is not None
    return forecast.probability(KEEPS, LIMIT)


def stop_reason(
    study: Study, score: float, step: int, others: Sequence[tuple[float, float]] = (DEFAULT_CURVE,)
) -> str | None:
    """Of a trial that is faster than all others, so that only the constraint can stop it."""
    curves = LearningCurves()
    for number, (at_rung, _) in enumerate(others):
        curves.add(number, rung(step, at_rung))
    history = [finished(number, 100.0, final) for number, (_, final) in enumerate(others)]
    study = replace(study, constraints=(KEEPS,))
    return optimistic(study, progress(profile(200.0), rung(step, score)), history, curves)


def test_a_model_at_chance_after_half_its_steps_is_stopped_with_only_the_default(
    study: Study,
) -> None:
    reason = stop_reason(study, 0.50, 50)
    assert reason is not None
    assert "0.5 at step 50 of 100" in reason
    assert "accuracy >= baseline - 0.01 holds with a probability of" in reason


@pytest.mark.parametrize("score", [0.74, 0.80, 0.90])
def test_a_model_near_the_default_is_not_stopped(score: float, study: Study) -> None:
    """Two of 128 examples are a standard deviation of the score."""
    assert stop_reason(study, score, 50) is None
    assert stop_reason(study, score, 25) is None


def test_an_early_rung_says_less_than_a_late_one() -> None:
    assert probability(0.60, 0.25) > probability(0.60, 0.5) > probability(0.60, 0.9)


def test_more_trials_with_equal_gains_make_it_more_certain() -> None:
    others = [(0.70 + 0.01 * n, 0.75 + 0.01 * n) for n in range(8)]
    assert probability(0.65, 0.5, others) < probability(0.65, 0.5)


def test_a_low_score_says_nothing_where_good_models_were_as_low(study: Study) -> None:
    """With a small rate and a long warm-up all models are at chance at the first rung."""
    late = [(0.50, 0.84), (0.51, 0.60), (0.50, 0.83), (0.52, 0.70), (0.50, 0.65), (0.51, 0.62)]
    assert stop_reason(study, 0.50, 25, late) is None
    early = [(0.80, 0.84), (0.79, 0.83), (0.60, 0.62), (0.55, 0.60), (0.70, 0.75), (0.65, 0.70)]
    assert stop_reason(study, 0.50, 25, early) is not None


def test_a_few_failures_from_as_low_a_score_prove_nothing(study: Study) -> None:
    """The default was at chance at this rung and learned later."""
    late, failures = (0.50, 0.84), [(0.50, 0.51)]
    assert stop_reason(study, 0.50, 50, [late, *failures]) is None
    assert stop_reason(study, 0.50, 50, [late, *failures * 4]) is None
    assert stop_reason(study, 0.50, 50, [late, *failures * 60]) is not None


def test_the_prediction_of_the_sampler_counts() -> None:
    likely, unlikely = (0.86, 0.02), (0.60, 0.05)
    without = probability(0.70, 0.5)
    assert probability(0.70, 0.5, prediction=likely) > without
    assert probability(0.70, 0.5, prediction=unlikely) < without


def test_an_upper_bound_of_a_loss() -> None:
    at_most = Constraint("loss", "<=", 0.5)
    forecasts = [forecast_score("loss", score, 0.5, [(0.6, 0.45)]) for score in (0.6, 2.0)]
    low, high = (f.probability(at_most, 0.5) for f in forecasts if f is not None)
    assert low > 0.5 > 0.05 > high


def test_without_a_finished_trial_there_is_no_forecast(study: Study) -> None:
    assert forecast_score("accuracy", 0.5, 0.5, []) is None
    assert stop_reason(study, 0.10, 50, ()) is None
