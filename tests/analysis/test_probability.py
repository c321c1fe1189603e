"""The probability that a trial belongs to the front, given the noise of its measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_studies import ACCURACY, COST, SPEED, study, trial

from autotune.analysis.front import pareto_front
from autotune.analysis.probability import front_points
from autotune.domain import Constraint, Measurement, Study, Trial, TrialOrigin, TrialResult


def measured(
    number: int, speed: float, accuracy: float, *, noise: float = 0.01, half_width: float = 0.02,
    source: int | None = None, **fields: object,
) -> Trial:  # fmt: skip
    """A trial with 95% half-widths: ``noise`` of the speed, ``half_width`` of the accuracy."""
    values = {"batch_size": number, "precision": "bf16"}
    base = trial(number, values=values, **fields)  # type: ignore[arg-type]
    numbers = {
        SPEED: Measurement(
            SPEED, speed, "samples/s", 5, (speed * (1 - noise), speed * (1 + noise))
        ),
        ACCURACY: Measurement(
            ACCURACY, accuracy, "ratio", 400, (accuracy - half_width, accuracy + half_width),
            source=source,
        ),
    }  # fmt: skip
    return replace(base, result=TrialResult(numbers))


DEFAULT = trial(0, {SPEED: 10.0, ACCURACY: 0.5})


def probabilities(constrained: Study, trials: list[Trial]) -> dict[int, float]:
    front = pareto_front(constrained, trials)
    return {p.trial.number: p.probability for p in front_points(constrained, trials, front)}


def test_distant_points_have_probability_one() -> None:
    by_number = probabilities(study(), [DEFAULT, measured(1, 100.0, 0.9), measured(2, 200.0, 0.7)])
    assert by_number == {1: 1.0, 2: 1.0}


def test_a_lead_within_the_noise_has_probability_one_half() -> None:
    """The slower trial is on the front only because of an accuracy lead within the noise."""
    by_number = probabilities(
        study(), [DEFAULT, measured(1, 100.0, 0.801), measured(2, 150.0, 0.800)]
    )
    assert by_number[2] == 1.0
    assert by_number[1] == pytest.approx(0.52, abs=0.08)


def test_more_samples_increase_the_probability() -> None:
    noisy = [DEFAULT, measured(1, 100.0, 0.82, half_width=0.04), measured(2, 150.0, 0.80)]
    precise = [DEFAULT, measured(1, 100.0, 0.82, half_width=0.005),
            measured(2, 150.0, 0.80, half_width=0.005)]  # fmt: skip
    assert probabilities(study(), noisy)[1] < 0.9 < probabilities(study(), precise)[1]


def test_many_near_rivals_decrease_the_probability() -> None:
    pair = [DEFAULT, measured(1, 100.0, 0.80), measured(2, 101.0, 0.79)]
    many = [*pair, *(measured(n, 101.0 + n, 0.79 - n / 1e4) for n in range(3, 20))]
    assert probabilities(study(), many)[1] < probabilities(study(), pair)[1] - 0.2


def test_shared_measurements_have_the_same_noise() -> None:
    """Two trials that share an accuracy measurement do not differ in it."""
    separate = [DEFAULT, measured(1, 100.0, 0.801), measured(2, 120.0, 0.8)]
    shared = [DEFAULT, measured(1, 100.0, 0.8), measured(2, 120.0, 0.8, source=1)]
    assert probabilities(study(), separate)[1] == pytest.approx(0.5, abs=0.1)
    assert probabilities(study(), shared).keys() == {2}
    assert probabilities(study(), shared)[2] > 0.95
    faster = measured(3, 90.0, 0.801)
    assert probabilities(study(), [*shared, faster])[3] == pytest.approx(0.5, abs=0.1)


def test_a_value_at_the_bound_violates_it_with_probability_one_half() -> None:
    bounded = study(constraints=[Constraint(ACCURACY, ">=", 0.8)])
    at_bound, safe = measured(1, 200.0, 0.8), measured(2, 100.0, 0.9)
    by_number = probabilities(bounded, [DEFAULT, at_bound, safe])
    assert by_number[1] == pytest.approx(0.5, abs=0.08)
    assert by_number[2] == 1.0


def test_a_trial_that_narrowly_violates_a_constraint_is_a_rival() -> None:
    bounded = study(constraints=[Constraint(ACCURACY, ">=", 0.8)])
    violating, on_front = measured(1, 200.0, 0.799), measured(2, 100.0, 0.801)
    assert probabilities(bounded, [DEFAULT, on_front])[2] > probabilities(
        bounded, [DEFAULT, violating, on_front]
    )[2]  # fmt: skip


def test_time_and_cost_have_the_noise_of_the_speed() -> None:
    """Of two trials that differ in speed only, the faster is cheaper in every sample: the slower
    one can win both objectives or neither."""

    def with_cost(number: int, speed: float) -> Trial:
        base = measured(number, speed, 0.8, noise=0.1, source=1)
        numbers = dict(base.result.measurements)
        for name, value in (("train_seconds", 1000 / speed), (COST, 1 / speed)):
            numbers[name] = Measurement(name, value, "x")
        return replace(base, result=TrialResult(numbers))

    default = trial(0, {SPEED: 10.0, ACCURACY: 0.5, COST: 0.1})
    by_number = probabilities(
        study(SPEED, ACCURACY, COST), [default, with_cost(1, 100.0), with_cost(2, 101.0)]
    )
    assert by_number.keys() == {2}
    assert by_number[2] == pytest.approx(0.56, abs=0.08)


def test_runs_with_other_seeds_decrease_the_probability_of_a_lucky_trial() -> None:
    lucky, other = measured(1, 100.0, 0.84), measured(2, 150.0, 0.80)
    single_runs = [DEFAULT, lucky, other]
    runs = [
        measured(n, source.metric(SPEED) or 0.0, score, origin=TrialOrigin.CONFIRMATION, seed=seed)
        for n, source, score, seed in (
            (3, lucky, 0.84, 1), (4, lucky, 0.72, 2), (5, other, 0.80, 1), (6, other, 0.76, 2),
        )
    ]  # fmt: skip
    runs = [replace(r, strategy=(lucky if r.number < 5 else other).strategy) for r in runs]
    assert (
        probabilities(study(), [*single_runs, *runs])[1]
        < probabilities(study(), single_runs)[1] - 0.1
    )


def test_a_front_point_has_estimates_and_confirmations() -> None:
    run = replace(measured(3, 104.0, 0.77, origin=TrialOrigin.CONFIRMATION, seed=1),
                    strategy=measured(1, 1.0, 0.1).strategy)  # fmt: skip
    trials = [DEFAULT, measured(1, 100.0, 0.80), measured(2, 200.0, 0.7), run]
    by_number = {
        p.trial.number: p for p in front_points(study(), trials, pareto_front(study(), trials))
    }
    assert by_number[1].estimates[SPEED].value == pytest.approx(102.0)
    assert by_number[1].estimates[ACCURACY].value == 0.80
    assert by_number[1].test_estimates[ACCURACY].value == 0.77
    assert by_number[1].confirmations == [run]
    assert by_number[2].test_estimates == {} and not by_number[2].confirmations


def test_probabilities_are_deterministic() -> None:
    trials = [DEFAULT, measured(1, 100.0, 0.801), measured(2, 150.0, 0.800)]
    assert probabilities(study(), trials) == probabilities(study(), list(trials))


def test_an_empty_front_has_no_points() -> None:
    assert front_points(study(), [], []) == []


def test_values_without_an_interval_have_the_noise_between_runs() -> None:
    def exact(*values: tuple[float, float]) -> list[Trial]:
        return [trial(n, {SPEED: s, ACCURACY: a}, values={"batch_size": n, "precision": "bf16"})
                for n, (s, a) in enumerate(values)]  # fmt: skip

    near = probabilities(study(), exact((10.0, 0.5), (100.0, 0.8), (100.5, 0.79)))
    assert near[1] < 1.0 and near[2] < 0.9
    apart = probabilities(study(), exact((10.0, 0.5), (100.0, 0.8), (200.0, 0.6)))
    assert apart == {1: 1.0, 2: 1.0}
