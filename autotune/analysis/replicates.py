"""What several runs of one strategy say together: means, intervals, and the spread between runs.

A finalist that was confirmed has been run again whole, under other seeds, its scores judged on the
test split. So its speed, memory and cost are means over all its runs, while its scores stand twice:
on validation examples, as the search saw them, and on test examples.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, variance

from autotune.analysis.front import value_of
from autotune.domain import Measurement, Phase, State, Trial, TrialOrigin
from autotune.domain.metrics import METRICS
from autotune.measure.statistics import t_quantile

Z95 = 1.959964

SPEED = "train_samples_per_second"


@dataclass(frozen=True)
class Estimate:
    """A metric as ``runs`` runs of a strategy have it: their mean, and its 95% interval or ``None``
    where nothing is known of its spread."""

    value: float
    ci95: tuple[float, float] | None
    runs: int = 1


@dataclass(frozen=True)
class RunVariation:
    """How runs of one strategy differ: one standard deviation, with its degrees of freedom. Of
    scores in their own unit, of all else of the logarithm, which is about a share of the value."""

    deviation: float
    degrees_of_freedom: int

    def half_width(self, runs: int) -> float:
        """Half the 95% interval of the mean of ``runs`` runs, by Student's t."""
        return t_quantile(self.degrees_of_freedom) * self.deviation / math.sqrt(runs)


def is_score(metric: str) -> bool:
    """Whether a metric tells of the trained model, and so depends on the split it is judged on."""
    return metric in METRICS and METRICS[metric].phase is Phase.TRAIN


class Replicates:
    """The runs of a study, by what they repeat."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = trials
        self._spreads: dict[str, RunVariation | None] = {}

    def confirmations(self, trial: Trial) -> Sequence[Trial]:
        """The complete runs that confirm ``trial``, in order of number."""
        return () if trial.is_confirmation else self._again.get(trial.strategy.key, ())

    def estimate(self, trial: Trial, metric: str) -> Estimate | None:
        """What is known of a metric: the mean over all runs, of scores on validation alone."""
        own = trial.result.measurements.get(metric)
        if own is None or not math.isfinite(own.value):
            return None
        if is_score(metric):
            return Estimate(own.value, own.ci95)
        again = [v for run in self.confirmations(trial) if (v := value_of(run, metric)) is not None]
        spread = self.run_variation(metric)
        if again and spread is not None:
            value = fmean([own.value, *again])
            times = math.exp(spread.half_width(len(again) + 1))
            low, high = sorted((value / times, value * times))
            return Estimate(value, (low, high), len(again) + 1)
        return Estimate(own.value, own.ci95 or _whole_run_interval(trial, metric))

    def test_estimate(self, trial: Trial, metric: str) -> Estimate | None:
        """A score on the test split: the mean over confirming runs. Its interval holds for other
        examples of this kind and for other seeds."""
        runs = [run.result.measurements.get(metric) for run in self.confirmations(trial)]
        found = [m for m in runs if m is not None and math.isfinite(m.value)]
        if not found or not is_score(metric):
            return None
        value, spread = fmean(m.value for m in found), self.run_variation(metric)
        sampling = [half for m in found if (half := ci95_half_width(m)) is not None]
        seeds = 0.0 if spread is None else spread.half_width(len(found))
        half = math.hypot(fmean(sampling), seeds) if sampling else seeds
        return Estimate(value, (value - half, value + half) if half else None, len(found))

    def run_variation(self, metric: str) -> RunVariation | None:
        """How much runs of one strategy differ, over all that were repeated together, since two or
        three runs of one tell little; ``None`` where none was."""
        if metric not in self._spreads:
            self._spreads[metric] = self._score(metric) if is_score(metric) else self._other(metric)
        return self._spreads[metric]

    @cached_property
    def _again(self) -> Mapping[str, Sequence[Trial]]:
        found: dict[str, list[Trial]] = defaultdict(list)
        for trial in self._trials:
            if trial.is_confirmation and trial.state is State.COMPLETE:
                found[trial.strategy.key].append(trial)
        return found

    @cached_property
    def _pairs(self) -> Sequence[tuple[Trial, Sequence[Trial]]]:
        """What was confirmed, once a strategy, and by which runs."""
        ended = {
            t.strategy.key: t
            for t in reversed(self._trials)
            if t.state is State.COMPLETE and not t.is_confirmation and self.confirmations(t)
        }
        return [(trial, self.confirmations(trial)) for trial in ended.values()]

    def _other(self, metric: str) -> RunVariation | None:
        groups = []
        for trial, again in self._pairs:
            values = [value_of(run, metric) for run in (trial, *again)]
            groups.append([math.log(v) for v in values if v is not None and v > 0])
        return _pooled(groups)

    def _score(self, metric: str) -> RunVariation | None:
        """Over seeds of one strategy where there are several. Else by how unlike each other the
        differences between test and validation are, beyond what so few examples explain."""
        runs = [[v for run in again if (v := value_of(run, metric)) is not None]
                for _, again in self._pairs]  # fmt: skip
        pooled = _pooled(runs)
        if pooled is not None:
            return pooled
        gaps, noise = [], []
        for (trial, again), tested in zip(self._pairs, runs, strict=True):
            if tested and (value := value_of(trial, metric)) is not None:
                gaps.append(tested[0] - value)
                ends = [run.result.measurements[metric] for run in (trial, again[0])]
                noise += [((ci95_half_width(m) or 0.0) / Z95) ** 2 for m in ends]
        if len(gaps) < 2:
            return None
        beyond = (variance(gaps) - 2 * fmean(noise)) / 2
        return RunVariation(math.sqrt(max(beyond, 0.0)), len(gaps) - 1)


def confirmed_trial(run: Trial, trials: Sequence[Trial]) -> Trial | None:
    """The trial that a confirming run repeats; ``None`` for any other trial."""
    if run.origin != TrialOrigin.CONFIRMATION:
        return None
    key = run.strategy.key
    return next((t for t in trials if not t.is_confirmation and t.strategy.key == key), None)


def ci95_half_width(measurement: Measurement) -> float | None:
    """Half the 95% interval of a measurement's own run."""
    ends = measurement.ci95
    return None if ends is None else (ends[1] - ends[0]) / 2


def speed_dependent_share(trial: Trial, metric: str) -> float:
    """The share of a metric of the whole run that goes with the training speed: all of its time but
    setting up."""
    if metric not in METRICS or METRICS[metric].phase is not Phase.RUN:
        return 0.0
    seconds, setup = value_of(trial, "train_seconds"), value_of(trial, "setup_seconds")
    return max(1 - (setup or 0.0) / seconds, 0.0) if seconds else 1.0


def _whole_run_interval(trial: Trial, metric: str) -> tuple[float, float] | None:
    """Time, money and energy follow from the speed, and so does their interval."""
    speed, value = trial.result.measurements.get(SPEED), value_of(trial, metric)
    share = speed_dependent_share(trial, metric)
    if share == 0 or value is None or speed is None or speed.ci95 is None or speed.ci95[0] <= 0:
        return None
    low, high = (value * (1 + share * (speed.value / end - 1)) for end in reversed(speed.ci95))
    return low, high


def _pooled(groups: Sequence[Sequence[float]]) -> RunVariation | None:
    """The standard deviation within groups."""
    repeated = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in repeated)
    if freedom == 0:
        return None
    within = sum(variance(group) * (len(group) - 1) for group in repeated)
    return RunVariation(math.sqrt(within / freedom), freedom)
