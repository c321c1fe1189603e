"""Probes: settings that cannot change the accuracy, measured before the first training runs.

A probe is the default with another setting of one such lever. It trains the same model as the
default, so only its profile phase runs, which takes seconds. Every later training run gains from
what the probes show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autotune.analysis.drift import relative_ratio
from autotune.analysis.front import find_baseline
from autotune.domain import Phase, State, Strategy, Study, Trial, TrialOrigin, Value
from autotune.domain.search_space import excluded, grid_values
from autotune.levers import phase_levers
from autotune.levers.priors import expected_speedup
from autotune.ports import Sampler
from autotune.tuner.samplers.common import TriedStrategies

PROBE_SECONDS = 6.0
"""Duration of a profile phase, beside the time that every trial takes to start and to end."""

PAYBACK_TRAININGS = 8
"""A probe has to save its own time within this many training runs of the default's duration."""

MAX_BUDGET_SHARE = 1 / 6
"""Probes use at most this share of a budget of trials."""

SPEED, SECONDS = "train_samples_per_second", "train_seconds"


class ProbeSampler:
    """Proposes the probes that pay back, the most promising first, then what ``sampler`` does."""

    def __init__(self, study: Study, sampler: Sampler) -> None:
        probes = make_probes(study) if study.sharing else []
        if study.budget.trials is not None:
            probes = probes[: int(study.budget.trials * MAX_BUDGET_SHARE)]
        self._study, self._probes, self._sampler = study, probes, sampler
        self._tried = TriedStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` if the space is exhausted."""
        default = find_baseline(self._study, history)
        if default is not None and default.state is State.COMPLETE:
            tried = self._tried.keys(history)
            for probe, speedup in self._probes:
                if probe.key not in tried and _pays_back(default, speedup):
                    return probe
        return self._sampler.ask(history)


def make_probes(study: Study) -> list[tuple[Strategy, float]]:
    """Strategies that differ from the default in one lever that cannot change the accuracy, with
    their expected speed relative to the default: those that are expected to be faster, the fastest
    first."""
    probes = [
        (probe, speedup)
        for probe, lever in _neighbours(study)
        if (speedup := expected_speedup(lever, probe[lever])) > 1
        and excluded(study.space, probe) is None
    ]
    return sorted(probes, key=lambda pair: (-pair[1], pair[0].key))


def _neighbours(study: Study) -> Iterator[tuple[Strategy, str]]:
    for dimension in study.space.dimensions:
        if dimension.lever not in phase_levers(Phase.TRAIN) and dimension.when is None:
            for value in grid_values(dimension.domain, 8):
                probe = study.baseline.with_values(**{dimension.lever: value})
                if probe != study.baseline:
                    yield probe, dimension.lever


def _pays_back(default: Trial, speedup: float) -> bool:
    seconds = default.metric(SECONDS)
    if seconds is None or default.seconds is None:
        return False
    overhead = max(default.seconds - seconds, 0.0)
    return PAYBACK_TRAININGS * seconds * (1 - 1 / speedup) > overhead + PROBE_SECONDS


def with_fastest_settings(strategy: Strategy, study: Study, history: Sequence[Trial]) -> Strategy:
    """``strategy`` with the fastest setting of each lever that was probed on this host."""
    default = find_baseline(study, history)
    if default is None:
        return strategy
    ratios = {
        trial.strategy.key: relative_ratio(SPEED, trial, default)
        for trial in history
        if trial.state is State.COMPLETE and trial.origin is not TrialOrigin.TRANSFERRED
    }
    settings: dict[str, Value] = {}
    fastest: dict[str, float] = {}
    for probe, lever in _neighbours(study):
        ratio = ratios.get(probe.key)
        if ratio is None:
            continue
        if lever not in settings:
            settings[lever], fastest[lever] = study.baseline[lever], 1.0
        if ratio > fastest[lever]:
            settings[lever], fastest[lever] = probe[lever], ratio
    changed = strategy.with_values(**settings)
    return strategy if excluded(study.space, changed) is not None else changed
