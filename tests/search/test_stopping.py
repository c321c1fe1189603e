"""Which trials are stopped early, and that no other is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autotune.domain import Constraint, CurvePoint, Measurement, State, Study, Trial, TrialResult
from autotune.search.early_stopping import MIN_FINISHED_TRIALS, Curves, asha, optimistic, standing
from tests.search.small_study import HOST
from tests.search.test_sharing import DEFAULT

assert HOST


def rung(step: int, accuracy: float) -> CurvePoint:
    return CurvePoint(step, 100, step * 8, step * 0.1, 0.5, {"accuracy": accuracy, "loss": 0.5})


def probe(speed: float, **more: float) -> CurvePoint:
    return CurvePoint(5, 100, 40, 0.5, 0.5, {"train_samples_per_second": speed, **more})


def ended(number: int, speed: float, accuracy: float, state: State = State.COMPLETE) -> Trial:
    found = {"train_samples_per_second": speed, "accuracy": accuracy}
    numbers = {name: Measurement(name, value, "x") for name, value in found.items()}
    if state is not State.COMPLETE:
        del numbers["accuracy"]
    strategy = DEFAULT.with_values(learning_rate=1e-5 * (number + 1))
    origin = "baseline" if number == 0 else "sampler"
    return Trial(number, state, strategy, 0, origin, result=TrialResult(numbers))


def course(grown: Mapping[int, tuple[float, float]]) -> tuple[list[Trial], Curves]:
    """Finished trials of speed 100 by (accuracy at a quarter, accuracy at the end)."""
    curves = Curves()
    for number, (then, _) in grown.items():
        curves.add(number, rung(25, then))
    return [ended(n, 100.0, final) for n, (_, final) in grown.items()], curves


STEADY = {n: (0.60 + 0.01 * n, 0.70 + 0.01 * n) for n in range(MIN_FINISHED_TRIALS + 2)}
"""Each gained ten points after its rung; the best ended at 77."""


def verdict(study: Study, grown: Mapping[int, tuple[float, float]], *points: CurvePoint,
            shared: Mapping[str, float] | None = None) -> str | None:  # fmt: skip
    history, curves = course(grown)
    free = replace(study, constraints=())
    return optimistic(free, standing(DEFAULT, points, shared or {}), history, curves)


def test_a_trial_that_even_luck_leaves_dominated_is_stopped(study: Study) -> None:
    reason = verdict(study, STEADY, probe(80.0), rung(25, 0.50))
    assert reason is not None and reason.startswith("dominated by trial")
    assert "training speed 84" in reason and "accuracy 0.6" in reason


def test_a_faster_trial_goes_on_however_bad_it_is(study: Study) -> None:
    assert verdict(study, STEADY, probe(120.0), rung(25, 0.30)) is None


def test_a_trial_that_may_catch_up_goes_on(study: Study) -> None:
    assert verdict(study, STEADY, probe(80.0), rung(25, 0.68)) is None


def test_speed_may_turn_out_a_little_better_than_its_probe(study: Study) -> None:
    assert verdict(study, STEADY, probe(97.0), rung(25, 0.50)) is None


def test_too_few_finished_trials_tell_nothing(study: Study) -> None:
    few = dict(list(STEADY.items())[: MIN_FINISHED_TRIALS - 1])
    assert verdict(study, few, probe(80.0), rung(25, 0.10)) is None


def test_a_rung_is_compared_with_the_same_rung(study: Study) -> None:
    assert verdict(study, STEADY, probe(80.0), rung(50, 0.10)) is None


def test_the_speed_can_come_from_another_trial(study: Study) -> None:
    known = {"train_samples_per_second": 80.0}
    assert verdict(study, STEADY, rung(25, 0.50), shared=known) is not None
    assert verdict(study, STEADY, rung(25, 0.50)) is None


def test_a_probe_alone_stops_nobody_without_an_idea_of_the_score(study: Study) -> None:
    assert verdict(study, STEADY, probe(1.0)) is None


def test_a_ceiling_of_the_score_lets_the_probe_stop_a_trial(study: Study) -> None:
    history, curves = course(STEADY)
    here = standing(DEFAULT, [probe(80.0)], {})
    free = replace(study, constraints=())
    assert optimistic(free, here, history, curves, lambda *_: 0.75) is not None
    assert optimistic(free, here, history, curves, lambda *_: 0.80) is None


def test_a_rung_stops_nobody_of_whom_more_is_expected(study: Study) -> None:
    """Those that finished may all be of another kind."""
    history, curves = course(STEADY)
    here = standing(DEFAULT, [probe(80.0), rung(25, 0.50)], {})
    assert optimistic(study, here, history, curves) is not None
    assert optimistic(study, here, history, curves, lambda *_: 0.95) is None
    assert optimistic(study, here, history, curves, lambda *_: 0.10) is not None


def test_a_constraint_that_cannot_be_kept_any_more_stops_a_trial(study: Study) -> None:
    history, curves = course(STEADY)
    strict = replace(study, constraints=(Constraint("accuracy", ">=", 0.75),))
    here = standing(DEFAULT, [probe(500.0), rung(25, 0.50)], {})
    reason = optimistic(strict, here, history, curves)
    assert reason is not None and "the study asks for accuracy >= 0.75" in reason


def test_memory_beyond_a_constraint_shows_at_the_probe(study: Study) -> None:
    tight = replace(study, constraints=(Constraint("peak_memory_gib", "<=", 2.0),))
    assert optimistic(tight, standing(DEFAULT, [probe(1.0, peak_memory_gib=3.0)], {}), [], Curves())
    within = standing(DEFAULT, [probe(1.0, peak_memory_gib=2.05)], {})
    assert optimistic(tight, within, [], Curves()) is None


def ranked(study: Study, rivals: Sequence[tuple[float, float]], mine: tuple[float, float]) -> bool:
    curves, history = Curves(), []
    for number, (speed, accuracy) in enumerate(rivals):
        curves.add(number, rung(25, accuracy))
        history.append(ended(number, speed, accuracy, State.PRUNED))
    here = standing(DEFAULT, [probe(mine[0]), rung(25, mine[1])], {})
    return asha(study, here, history, curves) is not None


def test_halving_lets_the_first_front_pass(study: Study) -> None:
    rivals = [(10, 0.9), (20, 0.8), (30, 0.7), (5, 0.5), (6, 0.4)]
    assert not ranked(study, rivals, (25, 0.75))
    assert ranked(study, rivals, (5, 0.3))


def test_halving_waits_for_company(study: Study) -> None:
    assert not ranked(study, [(100, 0.9)], (1, 0.1))


def test_halving_ranks_by_fronts_not_by_one_objective(study: Study) -> None:
    rivals = [(10.0 + n, 0.5) for n in range(6)]
    assert not ranked(study, rivals, (1.0, 0.6))
