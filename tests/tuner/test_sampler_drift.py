"""The sampler compares speeds at one speed of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from autotune.domain import Phase, State, Strategy, Trial, TrialOrigin, TrialResult
from autotune.tuner.samplers.factored import FactoredSampler
from autotune.tuner.samplers.factored.observations import observe
from tests.tuner import simulated_search as simulated
from tests.tuner.simulated_search import finished_trial, simulate_metrics

SPEED, REFERENCE = "train_samples_per_second", "reference_seconds"
STUDY = simulated.study()
STRATEGIES = [
    STUDY.baseline,
    STUDY.baseline.with_values(threads=2, batch_size=64),
    STUDY.baseline.with_values(threads=2, pruning_ratio=0.5),
    STUDY.baseline.with_values(learning_rate=1e-3),
]


def _trial(number: int, strategy: Strategy, slowdown: float = 1.0) -> Trial:
    """A trial on a machine that is slower by this factor."""
    values = simulate_metrics(strategy)
    speed, setup = values[SPEED] / slowdown, values["setup_seconds"] * slowdown
    seconds = values["setup_seconds"] + values["train_samples"] / speed
    slow = {
        SPEED: speed, "setup_seconds": setup, "train_seconds": seconds,
        "inference_latency_ms": values["inference_latency_ms"] * slowdown,
        "cost_usd": values["cost_usd"] * seconds / values["train_seconds"],
        REFERENCE: 0.05 * slowdown,
    }  # fmt: skip
    return finished_trial(number, strategy, {**values, **slow}, seconds=seconds + 1.0)


def _history(slowdowns: Sequence[float]) -> list[Trial]:
    pairs = zip(STRATEGIES, slowdowns, strict=True)
    return [_trial(number, strategy, slow) for number, (strategy, slow) in enumerate(pairs)]


def _profiles(history: Sequence[Trial]) -> list[dict[str, float]]:
    observations = observe(STUDY, history)
    return [dict(o.values) for _, o in observations.by_number(Phase.PROFILE)]


def test_a_busy_machine_changes_neither_speeds_nor_proposals() -> None:
    quiet, busy = _history((1, 1, 1, 1)), _history((1, 1, 3, 1.5))
    for expected, corrected in zip(_profiles(quiet), _profiles(busy), strict=True):
        del expected[REFERENCE], corrected[REFERENCE]
        assert corrected == pytest.approx(expected)
    assert FactoredSampler(STUDY).ask(busy) == FactoredSampler(STUDY).ask(quiet)


def test_speeds_without_a_reference_and_of_another_host_are_as_measured() -> None:
    history = _history((1, 2, 2, 2))
    measurements = history[1].result.measurements
    rest = {name: value for name, value in measurements.items() if name != REFERENCE}
    history[1] = replace(history[1], result=replace(history[1].result, measurements=rest))
    history[2] = replace(history[2], origin=TrialOrigin.TRANSFERRED)
    for profile, strategy in list(zip(_profiles(history), STRATEGIES, strict=False))[1:3]:
        assert profile[SPEED] == pytest.approx(simulate_metrics(strategy)[SPEED] / 2)


def test_a_sampler_corrects_earlier_trials_when_the_default_finishes() -> None:
    """As with several workers: it proposes what a fresh one does."""
    history = _history((1, 1, 3, 1.5))
    running = replace(history[0], state=State.RUNNING, result=TrialResult())
    sampler = FactoredSampler(STUDY)
    sampler.ask([running, *history[1:]])
    assert sampler.ask(history) == FactoredSampler(STUDY).ask(history)
