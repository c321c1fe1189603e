"""Begin with what another study of the same task has found.

Where that study ran on a machine like this one, its trials count here as they are, though not for
the budget: origin ``warm``. From any other machine they are hints for the sampler, origin
``prior``: scores as they were, speeds in the ratio in which the default configuration's drift
reference ran there and here. The default itself always runs here.
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
    Phase,
    Pruned,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import contains, excluded
from autotune.errors import IncompatibleStudyError
from autotune.ports import Proposal, Store

REFERENCE = "reference_seconds"

INFERENCE, INFERENCE_PRICE = "inference_samples_per_second", "inference_usd_per_million"


@dataclass(frozen=True)
class SourceStudy:
    """The study to begin with, as it was when this search began."""

    study: Study
    trials: Sequence[Trial]
    same_host: bool
    curves: Mapping[int, Sequence[CurvePoint]] = field(default_factory=dict)


def load_source_study(store: Store, study: Study, host: Host) -> SourceStudy | None:
    """The study that ``study`` begins with; ``None`` where it names none.

    :raises NotFoundError: there is no such study in this store.
    :raises IncompatibleStudyError: it is about another task.
    """
    if study.warm_start is None:
        return None
    there = store.study(study.warm_start)
    if there.task != study.task:
        ours, theirs = vars(study.task), vars(there.task)
        differ = [
            f"task.{name} is {ours[name]} here, {theirs[name]} there"
            for name in ours
            if ours[name] != theirs[name]
        ]
        raise IncompatibleStudyError(
            f"study {there.name} is about another task:\n  " + "\n  ".join(differ),
            hint="begin with a study of the same task, or leave warm_start out",
        )
    machines = {str(e.get("fingerprint")) for e in store.environments(there.name)}
    same_host = machines == {host.fingerprint}
    curves = store.curves(there.name) if same_host else {}
    return SourceStudy(there, store.trials(there.name), same_host, curves)


def can_import(begun_with: SourceStudy, study: Study, history: Sequence[Trial]) -> bool:
    """Whether trials can be recorded now: hints wait for the default, which tells how fast this
    machine is."""
    default = find_baseline(study, history)
    return begun_with.same_host or (default is not None and default.state.finished)


def next_import(
    begun_with: SourceStudy, study: Study, history: Sequence[Trial], price: Price
) -> Proposal | None:
    """The next trial to be recorded that is not in ``history`` yet; ``None`` after the last."""
    done = {
        (t.strategy.key, t.seed): t.number
        for t in history
        if t.imported and t.state not in (State.INTERRUPTED, State.QUEUED)
    }
    numbers: dict[int, int] = {}
    for trial in _worth_having(begun_with):
        strategy = _here(study, trial.strategy)
        number = done.get((strategy.key, trial.seed))
        if number is not None:
            numbers[trial.number] = number
        elif strategy != study.baseline:
            return _adopted(begun_with, trial, study, history, numbers, price)
    return None


def _worth_having(begun_with: SourceStudy) -> Iterator[Trial]:
    """Trials with a result of their own, judged on validation; from elsewhere whole ones only."""
    known = {State.COMPLETE} | ({State.PRUNED, State.INFEASIBLE} if begun_with.same_host else set())
    for trial in begun_with.trials:
        own = trial.is_result and trial.failure != FailureReason.PREDICTED
        if own and trial.state in known:
            yield trial


def _here(study: Study, strategy: Strategy) -> Strategy:
    """The same settings with every lever that is known here."""
    known = {name: v for name, v in strategy.values.items() if name in study.baseline.values}
    return study.baseline.with_values(**known)


def _is_searched(study: Study, strategy: Strategy) -> bool:
    """Whether the study's space offers the strategy, or the user asks for it."""
    searched = {d.lever: d.domain for d in study.space.dimensions}
    moved = [n for n, (here, _) in strategy.differences(study.baseline).items() if here is not None]
    inside = all(n in searched and contains(searched[n], strategy[n]) for n in moved)
    return strategy in study.start_with or (inside and excluded(study.space, strategy) is None)


def _adopted(
    begun_with: SourceStudy,
    trial: Trial,
    study: Study,
    history: Sequence[Trial],
    numbers: Mapping[int, int],
    price: Price,
) -> Proposal:
    strategy = _here(study, trial.strategy)
    found = dict(trial.result.measurements)
    if not begun_with.same_host:
        faster = _speed_ratio(begun_with, study, history, strategy)
        found = dict(_scaled(found, faster))
    if not begun_with.same_host or begun_with.study.prices != study.prices:
        found = dict(_priced(found, price(strategy)))
    own = {name: replace(m, source=numbers.get(m.source or -1)) for name, m in found.items()}
    counts = begun_with.same_host and _is_searched(study, strategy)
    where = f"{begun_with.study.name}, trial {trial.number}"
    ended = "" if trial.finished_at is None else f", {trial.finished_at:%Y-%m-%d}"
    evidence = TrialResult(
        measurements={name: replace(m, samples=(), warmup=()) for name, m in own.items()},
        curve=tuple(begun_with.curves.get(trial.number, ())) if counts else (),
        events=(Event(datetime.now(UTC), "warm_start", f"from study {where}{ended}"),),
        environment={"warm_start": where},
    )
    return Proposal(
        strategy,
        TrialOrigin.IMPORTED if counts else TrialOrigin.TRANSFERRED,
        trial.seed,
        _outcome(trial, evidence),
    )


def _outcome(trial: Trial, evidence: TrialResult) -> Outcome:
    if trial.state is State.PRUNED:
        return Pruned(trial.reason or "stopped early", evidence)
    if trial.state is State.INFEASIBLE:
        return Infeasible(trial.failure or FailureReason.UNSUPPORTED, trial.reason or "", evidence)
    return Completed(evidence)


def _speed_ratio(
    begun_with: SourceStudy, study: Study, history: Sequence[Trial], strategy: Strategy
) -> float | None:
    """How much faster this machine is than that one on devices of the strategy's kind; ``None``
    where the two cannot be compared."""
    here, there = find_baseline(study, history), find_baseline(begun_with.study, begun_with.trials)
    ours, theirs = value_of(here, REFERENCE), value_of(there, REFERENCE)
    if here is None or there is None or not ours or not theirs:
        return None
    kinds = {str(s["device"]).partition(":")[0] for s in (here.strategy, there.strategy, strategy)}
    return theirs / ours if len(kinds) == 1 else None


def _scaled(
    found: Mapping[str, Measurement], faster: float | None
) -> Iterator[tuple[str, Measurement]]:
    """What holds on this machine too: scores and sizes, and speeds as they will about be."""
    for name, number in found.items():
        metric = METRICS.get(name)
        if metric is None or name == REFERENCE:
            continue
        if metric.phase is Phase.TRAIN or metric.unit in ("GiB", "MiB", "samples/reference"):
            yield name, number
        elif faster is not None and metric.unit in ("samples/s", "s", "ms"):
            by = faster if metric.unit == "samples/s" else 1 / faster
            yield name, replace(number, value=number.value * by, ci95=None)


def _priced(
    found: Mapping[str, Measurement], hourly_usd: float | None
) -> Iterator[tuple[str, Measurement]]:
    """The numbers with money at this study's prices."""
    yield from ((name, m) for name, m in found.items() if METRICS[name].unit[:3] != "USD")
    if hourly_usd is None:
        return
    if (seconds := found.get("train_seconds")) is not None:
        yield _money("cost_usd", hourly_usd * seconds.value / 3600, seconds)
    if (speed := found.get(INFERENCE)) is not None and speed.value > 0:
        yield _money(INFERENCE_PRICE, hourly_usd / 3600 * 1e6 / speed.value, speed)


def _money(name: str, value: float, of: Measurement) -> tuple[str, Measurement]:
    return name, Measurement(name, value, METRICS[name].unit, source=of.source)
