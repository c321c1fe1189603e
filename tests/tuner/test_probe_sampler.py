"""Probes of settings that cannot change the accuracy, before the first training runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from autotune.domain import (
    Budget,
    Categorical,
    Dimension,
    Measurement,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.levers import training_key
from autotune.tuner.samplers.probes import ProbeSampler, make_probes, with_fastest_settings
from autotune.tuner.samplers.recipes import RecipeSampler
from tests.tuner import simulated_search as simulated
from tests.tuner.simulated_search import finished_trial, simulate_metrics

SPEED, SECONDS = "train_samples_per_second", "train_seconds"


class NoSampler:
    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        return None


@pytest.fixture
def study() -> Study:
    return simulated.study()


def trial(number: int, strategy: Strategy, *, speed: float = 50.0, seconds: float = 60.0) -> Trial:
    values = {**simulate_metrics(strategy), SPEED: speed, SECONDS: seconds}
    return finished_trial(number, strategy, values, seconds=seconds + 3)


def test_probes_train_the_model_of_the_default(study: Study) -> None:
    probes = [probe for probe, _ in make_probes(study)]
    assert probes[0] == study.baseline.with_values(allocator="tuned")
    assert {training_key(probe) for probe in probes} == {training_key(study.baseline)}


def test_a_probe_follows_a_long_default_and_no_short_one(study: Study) -> None:
    sampler = ProbeSampler(study, NoSampler())
    assert sampler.ask([trial(0, study.baseline)]) == make_probes(study)[0][0]
    assert sampler.ask([trial(0, study.baseline, seconds=2.0)]) is None


def test_no_probe_before_the_default_nor_twice(study: Study) -> None:
    history = [trial(0, study.baseline)]
    assert ProbeSampler(study, NoSampler()).ask([]) is None
    for number, (probe, _) in enumerate(make_probes(study), start=1):
        assert ProbeSampler(study, NoSampler()).ask(history) == probe
        history.append(trial(number, probe))
    assert ProbeSampler(study, NoSampler()).ask(history) is None


def test_there_are_no_probes_without_sharing_nor_in_a_small_budget(study: Study) -> None:
    history = [trial(0, study.baseline)]
    for changed in (replace(study, sharing=False), replace(study, budget=Budget(trials=5))):
        assert ProbeSampler(changed, NoSampler()).ask(history) is None


@pytest.mark.parametrize(("speed", "allocator"), [(60.0, "tuned"), (40.0, "system")])
def test_recipes_use_the_fastest_probed_setting(study: Study, speed: float, allocator: str) -> None:
    probe = study.baseline.with_values(allocator="tuned")
    history = [trial(0, study.baseline), trial(1, probe, speed=speed)]
    for setting in ("tuned", "system"):
        strategy = study.baseline.with_values(allocator=setting, batch_size=16)
        fastest = with_fastest_settings(strategy, study, history)
        assert (fastest["allocator"], fastest["batch_size"]) == (allocator, 16)


def test_speeds_of_another_host_choose_no_settings(study: Study) -> None:
    probe = study.baseline.with_values(allocator="tuned")
    history = [trial(0, study.baseline), trial(1, probe, speed=40.0)]
    elsewhere = replace(trial(2, probe, speed=400.0), origin=TrialOrigin.TRANSFERRED)
    assert with_fastest_settings(probe, study, [*history, elsewhere])["allocator"] == "system"


def test_probes_are_compared_at_one_speed_of_the_machine(study: Study) -> None:
    """The default ran while the machine was three times slower."""
    probe = study.baseline.with_values(allocator="tuned")
    runs = [trial(0, study.baseline, speed=20.0), trial(1, probe, speed=40.0)]
    history = [
        replace(run, result=replace(run.result, measurements={
            **run.result.measurements,
            "reference_seconds": Measurement("reference_seconds", seconds, "s", 4),
        }))
        for run, seconds in zip(runs, (0.15, 0.05), strict=True)
    ]  # fmt: skip
    assert with_fastest_settings(probe, study, history)["allocator"] == "system"
    assert with_fastest_settings(probe, study, runs)["allocator"] == "tuned"


def test_a_recipe_is_not_proposed_again_when_a_probe_shows_faster_settings(study: Study) -> None:
    searched = replace(
        study,
        space=replace(
            study.space,
            dimensions=(
                Dimension("allocator", Categorical(("system", "tuned"))),
                Dimension("padding", Categorical(("dynamic", "bucketed"))),
            ),
        ),
    )
    history = [trial(0, study.baseline)]
    recipe = RecipeSampler(searched, NoSampler(), None).ask(history)
    assert recipe is not None
    probe = study.baseline.with_values(allocator="tuned")
    history += [trial(1, recipe), trial(2, probe, speed=40.0)]
    assert RecipeSampler(searched, NoSampler(), None).ask(history) is None
