"""Warm start: imports the trials of another study of the same task.

If that study ran on a host like this one, its trials are results here too (origin ``imported``),
without cost to the budget. From any other host they are transferred as prior knowledge for the
sampler (origin ``transferred``): scores and sizes as they are, speeds scaled by the ratio of the
drift references of the two default trials. The default itself always runs here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from autotune.analysis.budget import Price
from autotune.analysis.front import find_baseline, value_of
from autotune.domain import (
    Completed,
    CurvePoint,
    Event,
    FailureReason,
    Host,
    Infeasible,
    Measurement,
    Outcome,
    Pruned,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.metrics import METRICS, MetricKind, get_metric
from autotune.domain.search_space import contains, excluded
from autotune.errors import IncompatibleStudyError
from autotune.ports import Proposal, Store

REFERENCE = "reference_seconds"
"""The duration of the drift reference, which measures the speed of a host."""

INFERENCE_SPEED, INFERENCE_PRICE = "inference_samples_per_second", "inference_usd_per_million"


@dataclass(frozen=True)
class SourceStudy:
    """The study to import from, with its trials when this run started.

    ``same_host`` is whether it ran on a host like this one only; ``curves`` are read in that case.
    """

    study: Study
    trials: Sequence[Trial]
    same_host: bool
    curves: Mapping[int, Sequence[CurvePoint]] = field(default_factory=dict)


def load_source_study(store: Store, study: Study, host: Host) -> SourceStudy | None:
    """The study that ``study`` imports from; ``None`` if it names none.

    :raises NotFoundError: there is no such study in this store.
    :raises IncompatibleStudyError: it has another task.
    """
    if study.warm_start is None:
        return None
    source = store.study(study.warm_start)
    source_task = source.task.with_code_of(study.task)
    if source_task != study.task:
        own, other = vars(study.task), vars(source_task)
        differences = [
            f"task.{name} is {own[name]} here, {other[name]} there"
            for name in own
            if own[name] != other[name]
        ]
        raise IncompatibleStudyError(
            f"study {source.name} has another task:\n  " + "\n  ".join(differences),
            hint="name a study of the same task, or remove warm_start",
        )
    fingerprints = {str(e.get("fingerprint")) for e in store.environments(source.name)}
    same_host = fingerprints == {host.fingerprint}
    curves = store.curves(source.name) if same_host else {}
    return SourceStudy(source, store.trials(source.name), same_host, curves)


def can_import(source: SourceStudy, study: Study, history: Sequence[Trial]) -> bool:
    """Whether trials can be imported now. Those from another host wait for the default, which
    measures the speed of this one."""
    default = find_baseline(study, history)
    return source.same_host or (default is not None and default.state.is_finished)


def next_import(
    source: SourceStudy, study: Study, history: Sequence[Trial], price: Price
) -> Proposal | None:
    """The next trial to import that is not in ``history`` yet, with its outcome; ``None`` after the
    last one."""
    imported = {
        (t.strategy.key, t.seed): t.number
        for t in history
        if t.is_imported and t.state not in (State.INTERRUPTED, State.QUEUED)
    }
    numbers: dict[int, int] = {}  # of imported trials here, by their number in the source
    for trial in _importable_trials(source):
        strategy = _with_own_levers(study, trial.strategy)
        number = imported.get((strategy.key, trial.seed))
        if number is not None:
            numbers[trial.number] = number
        elif strategy != study.baseline:
            return _import_trial(source, trial, study, history, numbers, price)
    return None


def _importable_trials(source: SourceStudy) -> Iterator[Trial]:
    """Trials that ran and were evaluated on validation data; from another host complete ones
    only."""
    states = {State.COMPLETE}
    if source.same_host:
        states |= {State.PRUNED, State.INFEASIBLE}
    for trial in source.trials:
        has_run = trial.is_result and trial.failure is not FailureReason.PREDICTED
        has_other_teacher = trial.strategy["distillation"] and source.study.task.teacher is None
        if has_run and trial.state in states and not has_other_teacher:
            yield trial


def _with_own_levers(study: Study, strategy: Strategy) -> Strategy:
    """``strategy`` with the levers of ``study``: defaults for those that it lacks."""
    values = {name: v for name, v in strategy.values.items() if name in study.baseline.values}
    return study.baseline.with_values(**values)


def _is_searched(study: Study, strategy: Strategy) -> bool:
    """Whether the strategy is in the study's space or among those that its file lists."""
    domains = {d.lever: d.domain for d in study.space.dimensions}
    differences = strategy.differences(study.baseline)
    levers = [name for name, (value, _) in differences.items() if value is not None]
    in_domains = all(name in domains and contains(domains[name], strategy[name]) for name in levers)
    return strategy in study.start_with or (in_domains and excluded(study.space, strategy) is None)


def _import_trial(
    source: SourceStudy,
    trial: Trial,
    study: Study,
    history: Sequence[Trial],
    numbers: Mapping[int, int],
    price: Price,
) -> Proposal:
    strategy = _with_own_levers(study, trial.strategy)
    measurements = dict(trial.result.measurements)
    if not source.same_host:
        ratio = _speed_ratio(source, study, history, strategy)
        measurements = dict(_transferred(measurements, ratio))
    if not source.same_host or source.study.prices != study.prices:
        measurements = dict(_repriced(measurements, price(strategy)))
    measurements = {
        name: replace(m, source=numbers.get(m.source or -1), samples=(), warmup=())
        for name, m in measurements.items()
    }
    is_result = source.same_host and _is_searched(study, strategy)
    name = f"{source.study.name}, trial {trial.number}"
    ended = "" if trial.finished_at is None else f", {trial.finished_at:%Y-%m-%d}"
    result = TrialResult(
        measurements=measurements,
        curve=tuple(source.curves.get(trial.number, ())) if is_result else (),
        events=(Event(datetime.now(UTC), "warm_start", f"from study {name}{ended}"),),
        environment={"warm_start": name},
    )
    origin = TrialOrigin.IMPORTED if is_result else TrialOrigin.TRANSFERRED
    return Proposal(strategy, origin, trial.seed, _outcome(trial, result))


def _outcome(trial: Trial, result: TrialResult) -> Outcome:
    if trial.state is State.PRUNED:
        return Pruned(trial.reason or "stopped early", result)
    if trial.state is State.INFEASIBLE:
        return Infeasible(trial.failure or FailureReason.UNSUPPORTED, trial.reason or "", result)
    return Completed(result)


def _speed_ratio(
    source: SourceStudy, study: Study, history: Sequence[Trial], strategy: Strategy
) -> float | None:
    """How many times faster this host is than that of the source, on the strategy's kind of device;
    ``None`` if they cannot be compared."""
    own = find_baseline(study, history)
    other = find_baseline(source.study, source.trials)
    own_seconds, other_seconds = value_of(own, REFERENCE), value_of(other, REFERENCE)
    if own is None or other is None or not own_seconds or not other_seconds:
        return None
    kinds = {str(s["device"]).partition(":")[0] for s in (own.strategy, other.strategy, strategy)}
    return other_seconds / own_seconds if len(kinds) == 1 else None


def _transferred(
    measurements: Mapping[str, Measurement], speed_ratio: float | None
) -> Iterator[tuple[str, Measurement]]:
    """The measurements that hold on this host too, and rates and times scaled to it."""
    for name, measurement in measurements.items():
        metric = METRICS.get(name)
        if metric is None or name == REFERENCE:
            continue
        if metric.is_host_independent:
            yield name, measurement
        elif speed_ratio is not None and metric.kind in (MetricKind.RATE, MetricKind.TIME):
            factor = speed_ratio if metric.kind is MetricKind.RATE else 1 / speed_ratio
            yield name, replace(measurement, value=measurement.value * factor, ci95=None)


def _repriced(
    measurements: Mapping[str, Measurement], hourly_usd: float | None
) -> Iterator[tuple[str, Measurement]]:
    """The measurements, with costs at this study's prices."""
    for name, measurement in measurements.items():
        if get_metric(name).kind is not MetricKind.MONEY:
            yield name, measurement
    if hourly_usd is None:
        return
    if (seconds := measurements.get("train_seconds")) is not None:
        yield _cost("cost_usd", hourly_usd * seconds.value / 3600, seconds)
    if (speed := measurements.get(INFERENCE_SPEED)) is not None and speed.value > 0:
        yield _cost(INFERENCE_PRICE, hourly_usd / 3600 * 1e6 / speed.value, speed)


def _cost(name: str, value: float, basis: Measurement) -> tuple[str, Measurement]:
    return name, Measurement(name, value, METRICS[name].unit, source=basis.source)
