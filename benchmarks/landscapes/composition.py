"""Composes the records of a whole grid from one trial of each training key.

A strategy's scores and learning curve are those of the trial with its training key, its speeds and
its memory the medians over the trials with its profile key, of which some ran the profile phase
only. Its times follow from both. All times are corrected by the time of the reference workload in
the same trial.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median

from autotune.domain import Measurement, Phase, State, Strategy, Study
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import grid
from autotune.execution.replay.benchmark import Record, TabularBenchmark
from autotune.levers import hourly_usd, profile_key, training_key

SPEED = "train_samples_per_second"
REFERENCE = "reference_seconds"

START_SECONDS = 0.13
"""The time of a trial outside its phases: the median in recordings on an idle machine."""


def sample(study: Study, order: Sequence[str] = ()) -> Iterator[Strategy]:
    """The default and one strategy of each training key. Of the strategies with the same key, the
    one whose profile key has been sampled least, so that all profile keys are measured.

    They are sorted by their values of the levers ``order``, so that an incomplete recording is
    complete for some of these values."""
    yield study.baseline
    groups: dict[str, list[Strategy]] = defaultdict(list)
    for strategy in sorted(grid(study.space), key=lambda s: [s[lever] for lever in order]):
        groups[training_key(strategy)].append(strategy)
    counts: Counter[str] = Counter()
    for members in groups.values():
        strategy = min(members, key=lambda member: counts[profile_key(member)])
        counts[profile_key(strategy)] += 1
        yield strategy


def compose(study: Study, benchmark: TabularBenchmark) -> TabularBenchmark:
    """The records of all strategies whose two halves were recorded, for each recorded seed."""
    complete = correct_drift([r for r in benchmark.records if r.state is State.COMPLETE])
    trainings = {
        (training_key(record.strategy), record.seed): record
        for record in complete
        if "5 train" in record.phases
    }
    profiles: dict[str, list[Record]] = defaultdict(list)
    for record in complete:
        profiles[profile_key(record.strategy)].append(record)
    records = [
        _composed(strategy, training, profiles[profile_key(strategy)], study, benchmark)
        for seed in dict.fromkeys(record.seed for record in complete)
        for strategy in dict.fromkeys([study.baseline, *grid(study.space)])
        if (training := trainings.get((training_key(strategy), seed)))
        and profile_key(strategy) in profiles
    ]
    return replace(benchmark, records=tuple(records))


def correct_drift(records: Sequence[Record]) -> list[Record]:
    """``records`` as if the machine always had its median speed."""
    typical = median(record.measurements[REFERENCE].value for record in records)
    return [scale_times(r, typical / r.measurements[REFERENCE].value) for r in records]


def scale_times(record: Record, factor: float) -> Record:
    """``record`` with all times multiplied by ``factor``, and speeds accordingly."""
    powers = {"s": 1, "ms": 1, "samples/s": -1}
    return replace(
        record,
        measurements={
            name: replace(m, value=m.value * factor ** powers.get(m.unit, 0))
            for name, m in record.measurements.items()
        },
        phases={name: seconds * factor for name, seconds in record.phases.items()},
        curve=tuple(replace(point, seconds=point.seconds * factor) for point in record.curve),
    )


def _composed(
    strategy: Strategy,
    training: Record,
    profiles: Sequence[Record],
    study: Study,
    benchmark: TabularBenchmark,
) -> Record:
    measurements = {**training.measurements, **dict(_medians(profiles))}
    speed = measurements[SPEED].value
    ratio = training.measurements[SPEED].value / speed
    seconds = measurements["setup_seconds"].value + measurements["train_samples"].value / speed
    measurements |= _totals(seconds, hourly_usd(strategy, benchmark.host, study.prices))
    phases = _phases(training, ratio)
    return replace(
        training,
        strategy=strategy,
        seconds=START_SECONDS + sum(phases.values()),
        measurements=measurements,
        phases=phases,
        curve=tuple(replace(p, seconds=p.seconds * ratio) for p in training.curve),
    )


def _medians(records: Sequence[Record]) -> Iterator[tuple[str, Measurement]]:
    """Medians of the measurements of the profile phase."""
    for name, measurement in records[0].measurements.items():
        if METRICS[name].phase is Phase.PROFILE:
            value = median(
                record.measurements[name].value for record in records if name in record.measurements
            )
            yield name, replace(measurement, value=value, ci95=None)


def _totals(seconds: float, price: float | None) -> dict[str, Measurement]:
    """Time and cost of a training run of ``seconds``."""
    values = {"train_seconds": seconds}
    if price is not None:
        values["cost_usd"] = price * seconds / 3600
    return {name: Measurement(name, v, METRICS[name].unit) for name, v in values.items()}


def _phases(training: Record, ratio: float) -> Mapping[str, float]:
    """The phases of ``training`` with training steps that take ``ratio`` times as long."""
    windows = next((p.seconds for p in training.curve if SPEED in p.metrics), 0.0)
    phases = dict(training.phases)
    if windows:
        phases["4 profile"] += windows * (ratio - 1)
    phases["5 train"] *= ratio
    return phases
