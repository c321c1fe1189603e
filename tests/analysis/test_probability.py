"""How sure a point of the front is, given how it was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_studies import ACCURACY, COST, SPEED, study, trial

from autotune.analysis.front import pareto_front
from autotune.analysis.probability import front_points
from autotune.domain import Constraint, Measurement, Study, Trial, TrialOrigin, TrialResult


def measured(
    number: int, speed: float, accuracy: float, *, noise: float = 0.01, points_off: float = 0.02,
    source: int | None = None, **fields: object,
) -> Trial:  # fmt: skip
    """A trial with 95% half-widths: ``noise`` of the speed, ``points_off`` of the accuracy."""
    values = {"batch_size": number, "precision": "bf16"}
    made = trial(number, values=values, **fields)  # type: ignore[arg-type]
    numbers = {
        SPEED: Measurement(
            SPEED, speed, "samples/s", 5, (speed * (1 - noise), speed * (1 + noise))
        ),
        ACCURACY: Measurement(
            ACCURACY, accuracy, "ratio", 400, (accuracy - points_off, accuracy + points_off),
            source=source,
        ),
    }  # fmt: skip
    return replace(made, result=TrialResult(numbers))


DEFAULT = trial(0, {SPEED: 10.0, ACCURACY: 0.5})


def chances(asked: Study, trials: list[Trial]) -> dict[int, float]:
    front = pareto_front(asked, trials)
    return {p.trial.number: p.probability for p in front_points(asked, trials, front)}


def test_points_far_apart_are_sure() -> None:
    found = chances(study(), [DEFAULT, measured(1, 100.0, 0.9), measured(2, 200.0, 0.7)])
    assert found == {1: 1.0, 2: 1.0}


def test_a_point_that_noise_put_ahead_is_a_coin_toss() -> None:
    """The slower of two is on the front only by an accuracy that their noise may well reverse."""
    found = chances(study(), [DEFAULT, measured(1, 100.0, 0.801), measured(2, 150.0, 0.800)])
    assert found[2] == 1.0
    assert found[1] == pytest.approx(0.52, abs=0.08)


def test_more_examples_make_it_surer() -> None:
    few = [DEFAULT, measured(1, 100.0, 0.82, points_off=0.04), measured(2, 150.0, 0.80)]
    many = [DEFAULT, measured(1, 100.0, 0.82, points_off=0.005),
            measured(2, 150.0, 0.80, points_off=0.005)]  # fmt: skip
    assert chances(study(), few)[1] < 0.9 < chances(study(), many)[1]


def test_many_that_come_near_are_likelier_to_hide_a_better_one() -> None:
    one = [DEFAULT, measured(1, 100.0, 0.80), measured(2, 101.0, 0.79)]
    crowd = [*one, *(measured(n, 101.0 + n, 0.79 - n / 1e4) for n in range(3, 20))]
    assert chances(study(), crowd)[1] < chances(study(), one)[1] - 0.2


def test_numbers_that_are_shared_are_wrong_together() -> None:
    """Two that took their accuracy from one trial do not differ in it, whatever it is."""
    apart = [DEFAULT, measured(1, 100.0, 0.8), measured(2, 103.0, 0.8)]
    joint = [DEFAULT, measured(1, 100.0, 0.8), measured(2, 103.0, 0.8, source=1)]
    assert chances(study(), joint)[2] > 0.95
    assert chances(study(), apart)[2] == pytest.approx(1.0, abs=0.05), "it is the faster one"
    faster = measured(3, 90.0, 0.801)
    assert chances(study(), [*joint, faster])[3] == pytest.approx(0.5, abs=0.1)


def test_a_constraint_may_be_broken_in_truth() -> None:
    bounded = study(constraints=[Constraint(ACCURACY, ">=", 0.8)])
    edge, safe = measured(1, 200.0, 0.8), measured(2, 100.0, 0.9)
    found = chances(bounded, [DEFAULT, edge, safe])
    assert found[1] == pytest.approx(0.5, abs=0.08)
    assert found[2] == 1.0


def test_one_that_breaks_a_constraint_narrowly_counts_as_a_rival() -> None:
    bounded = study(constraints=[Constraint(ACCURACY, ">=", 0.8)])
    just_out, on_front = measured(1, 200.0, 0.799), measured(2, 100.0, 0.801)
    assert chances(bounded, [DEFAULT, on_front])[2] > chances(
        bounded, [DEFAULT, just_out, on_front]
    )[2]  # fmt: skip


def test_time_and_money_are_wrong_as_the_speed_is() -> None:
    """Of two that differ in speed alone, the faster is the cheaper in every draw: the slower one
    may win both, or neither, and never one of them."""

    def paid(number: int, speed: float) -> Trial:
        made = measured(number, speed, 0.8, points_off=0.0, noise=0.1)
        numbers = dict(made.result.measurements)
        for name, value in (("train_seconds", 1000 / speed), (COST, 1 / speed)):
            numbers[name] = Measurement(name, value, "x")
        return replace(made, result=TrialResult(numbers))

    default = trial(0, {SPEED: 10.0, ACCURACY: 0.5, COST: 0.1})
    found = chances(study(SPEED, ACCURACY, COST), [default, paid(1, 100.0), paid(2, 101.0)])
    assert found.keys() == {2}
    assert found[2] == pytest.approx(0.56, abs=0.08)


def test_runs_under_other_seeds_make_a_lucky_point_less_sure() -> None:
    lucky, other = measured(1, 100.0, 0.84), measured(2, 150.0, 0.80)
    once = [DEFAULT, lucky, other]
    runs = [
        measured(n, of.metric(SPEED) or 0.0, score, origin=TrialOrigin.CONFIRMATION, seed=seed)
        for n, of, score, seed in (
            (3, lucky, 0.84, 1), (4, lucky, 0.72, 2), (5, other, 0.80, 1), (6, other, 0.76, 2),
        )
    ]  # fmt: skip
    runs = [replace(r, strategy=(lucky if r.number < 5 else other).strategy) for r in runs]
    assert chances(study(), [*once, *runs])[1] < chances(study(), once)[1] - 0.1


def test_a_point_says_what_is_known_of_it() -> None:
    again = replace(measured(3, 104.0, 0.77, origin=TrialOrigin.CONFIRMATION, seed=1),
                    strategy=measured(1, 1.0, 0.1).strategy)  # fmt: skip
    trials = [DEFAULT, measured(1, 100.0, 0.80), measured(2, 200.0, 0.7), again]
    found = {
        p.trial.number: p for p in front_points(study(), trials, pareto_front(study(), trials))
    }
    assert found[1].estimates[SPEED].value == pytest.approx(102.0)
    assert found[1].estimates[ACCURACY].value == 0.80
    assert found[1].test_estimates[ACCURACY].value == 0.77
    assert found[1].confirmations == [again]
    assert found[2].test_estimates == {} and not found[2].confirmations


def test_the_same_trials_give_the_same() -> None:
    trials = [DEFAULT, measured(1, 100.0, 0.801), measured(2, 150.0, 0.800)]
    assert chances(study(), trials) == chances(study(), list(trials))


def test_no_front_has_no_points() -> None:
    assert front_points(study(), [], []) == []


def test_figures_without_any_spread_are_taken_as_they_are() -> None:
    plain = [trial(n, {SPEED: s, ACCURACY: a}, values={"batch_size": n, "precision": "bf16"})
             for n, (s, a) in enumerate([(10.0, 0.5), (100.0, 0.8), (100.5, 0.79)])]  # fmt: skip
    assert chances(study(), plain) == {1: 1.0, 2: 1.0}
