"""The time model: durations that are predicted from finished trials."""

from __future__ import annotations

import random

import pytest

from autotune.domain import Strategy
from autotune.domain.search_space import grid
from autotune.tuner.feasibility.time_model import TimedTrial, TimeModel
from tests.tuner.feasible_world import MINILM, SPACE, World

DEFAULT = Strategy(SPACE.defaults)
HUGE = DEFAULT.with_values(batch_size=64, padding="fixed", attention="eager")


def shuffled(seed: int) -> list[Strategy]:
    strategies = list(grid(SPACE))
    random.Random(seed).shuffle(strategies)
    return strategies


def timed_trials(world: World, strategies: list[Strategy]) -> list[TimedTrial]:
    return [TimedTrial(s, world.seconds(s), world.speed(s)) for s in strategies]


def test_durations_are_learned() -> None:
    world = World(noise=0.05)
    model = TimeModel(MINILM, timed_trials(world, shuffled(4)[:25]))
    rest = shuffled(4)[25:125]
    predictions = [(model.predict(s), world.seconds(s)) for s in rest]
    errors = [abs(p.value / seconds - 1) for p, seconds in predictions if p is not None]
    assert len(errors) == 100
    assert sum(errors) / 100 < 0.15
    assert sum(p.low <= seconds <= p.high for p, seconds in predictions if p is not None) > 80


def test_duration_grows_with_epochs_and_is_unknown_without_trials() -> None:
    model = TimeModel(MINILM, timed_trials(World(), [DEFAULT]))
    once, three_times = model.predict(DEFAULT), model.predict(DEFAULT.with_values(epochs=3.0))
    assert once is not None and three_times is not None
    training = World().seconds(DEFAULT) - model.overhead
    assert three_times.value - once.value == pytest.approx(2 * training, rel=0.1)
    assert TimeModel(MINILM).predict(DEFAULT) is None


def test_a_timeout_raises_the_prediction() -> None:
    trials = timed_trials(World(), shuffled(5)[:8])
    before = TimeModel(MINILM, trials).predict(HUGE)
    assert before is not None
    timeout = TimedTrial(HUGE, 4 * before.value, None)
    after = TimeModel(MINILM, [*trials, timeout]).predict(HUGE)
    assert after is not None
    assert after.value > 1.5 * before.value


def test_training_before_pruning_takes_time() -> None:
    model = TimeModel(MINILM, timed_trials(World(), [DEFAULT]))
    pruned = DEFAULT.with_values(pruning_ratio=0.75)
    schedules = ("one-shot", "after-warmup", "gradual")
    predictions = [model.predict(pruned.with_values(pruning_schedule=s)) for s in schedules]
    one_shot, warmed_up, gradual = (p.value for p in predictions if p is not None)
    assert gradual - one_shot == pytest.approx(3 * (warmed_up - one_shot))
    speed = World().speed(DEFAULT)
    assert gradual - one_shot == pytest.approx(512 / speed, rel=0.05)
