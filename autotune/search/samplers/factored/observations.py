"""What the trials of a study have measured, once a group of strategies that share it.

A *leaf* is a quantity that depends on half of the levers: a metric of the speed probe or of the
training run, or a part from which a metric of the whole run follows. ``train_seconds`` is made of
``setup_seconds``, ``train_samples`` and ``train_samples_per_second``; money and energy of a rate
and of ``train_seconds``. What cannot be taken apart is a quantity of the whole strategy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from autotune.domain import (
    CONCURRENT_TRIALS,
    FailureReason,
    Phase,
    Resources,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    Value,
)
from autotune.domain.metrics import METRICS
from autotune.levers import phase_levers, required_resources
from autotune.search.cache import measured_phases
from autotune.search.samplers.factored.encoding import group

Group = tuple[Value | None, ...]

SPEED, SETUP, SAMPLES = "train_samples_per_second", "setup_seconds", "train_samples"
SECONDS = "train_seconds"
POWER = "energy_wh per second"

PROBE_SECONDS = 1.0
"""What the windows of a probe take, and a trial beside its steps, before any is known."""


@dataclass(frozen=True)
class Observation:
    """What trial ``number`` measured of its group. ``n`` counts the examples behind a score.

    ``shared`` numbers are those of every strategy of the group; a ``hint`` is from elsewhere.
    """

    number: int
    strategy: Strategy
    values: Mapping[str, float]
    n: Mapping[str, int] = field(default_factory=dict)
    shared: bool = False
    transferred: bool = False

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Of two facts of one group the lower one counts, whichever was learned first."""
        return self.transferred, not self.shared, self.number


@dataclass(frozen=True)
class Failure:
    number: int
    strategy: Strategy
    half: Phase
    """The levers to blame: training arithmetic for a loss that is no number, else the rest."""


class Observations:
    """Grown trial by trial; a pure function of the trials seen, in whatever order they ended."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._seen: dict[int, State] = {}
        self.groups: dict[Phase, dict[Group, Observation]] = {
            Phase.PROFILE: {},
            Phase.TRAIN: {},
            Phase.RUN: {},
        }
        self.known: dict[Phase, set[Group]] = {
            Phase.PROFILE: set(),
            Phase.TRAIN: set(),
            Phase.RUN: set(),
        }
        """Groups whose numbers are shared with the next strategy of the group."""
        self.failures: list[Failure] = []
        self.passed: dict[int, Strategy] = {}
        self.skipped: dict[int, Strategy] = {}
        """Strategies whose memory was predicted not to suffice: not tried, so no evidence."""
        self.stopped: dict[int, Strategy] = {}
        """Strategies that were found not to gain, though nobody knows how they would have ended."""
        self.points: dict[int, Trial] = {}
        """Trials that may be on the front."""
        self.tried: set[str] = set()
        self._ordered: dict[Phase, list[tuple[Group, Observation]]] = {}
        self._prices: dict[int, tuple[tuple[Resources, Value], float]] = {}
        self._seconds: dict[str, dict[int, float]] = {
            Phase.PROFILE: {},
            Phase.TRAIN: {},
            Phase.RUN: {},
        }
        self._wanted = _wanted(study)

    def learn(self, history: Sequence[Trial]) -> Observations:
        """Take in what is new in ``history``."""
        for trial in history:
            if self._seen.get(trial.number) is not trial.state:
                self._seen[trial.number] = trial.state
                if trial.origin != TrialOrigin.TRANSFERRED:
                    self.tried.add(trial.strategy.key)
                if trial.state.finished:
                    self._add(trial)
        return self

    def ordered(self, half: Phase) -> list[tuple[Group, Observation]]:
        """Groups of one half by the number of the trial that measured them."""
        if half not in self._ordered:
            found = self.groups[half].items()
            self._ordered[half] = sorted(found, key=lambda item: item[1].number)
        return self._ordered[half]

    @property
    def probe_seconds(self) -> float:
        """Time of a trial that only probes."""
        return self._median(Phase.PROFILE, self.beside_whole_seconds + PROBE_SECONDS)

    @property
    def beside_training_seconds(self) -> float:
        """Time that a trial that only trains takes beside its steps: starting, evaluating."""
        return self._median(Phase.TRAIN, self.beside_whole_seconds)

    @property
    def beside_whole_seconds(self) -> float:
        """The same for a trial that does both."""
        return self._median(Phase.RUN, PROBE_SECONDS)

    def _median(self, kind: str, otherwise: float) -> float:
        seen = self._seconds[kind]
        return median(seen.values()) if seen else otherwise

    def usd_per_second(self, strategies: Sequence[Strategy]) -> list[float] | None:
        """Price of what each strategy holds: as paid for the same before, else by the number of
        cores or devices; ``None`` where no trial had a price."""
        if not self._prices:
            return None
        known = dict(self._prices[number] for number in sorted(self._prices, reverse=True))
        each = median(price / _size(held) for (held, _), price in known.items())
        return [
            known.get(holding, each * _size(holding[0])) for holding in map(_holding, strategies)
        ]

    def _add(self, trial: Trial) -> None:
        if trial.origin == TrialOrigin.TRANSFERRED and trial.state is not State.COMPLETE:
            return  # what another machine could not run, this one may
        if trial.failure == FailureReason.PREDICTED:
            self.skipped[trial.number] = trial.strategy
        elif (
            trial.state in (State.INFEASIBLE, State.FAILED)
            and trial.failure != FailureReason.INFRASTRUCTURE
        ):
            half: Phase = Phase.TRAIN if trial.failure == FailureReason.NAN_LOSS else Phase.PROFILE
            self.failures.append(Failure(trial.number, trial.strategy, half))
            self.failures.sort(key=lambda failure: failure.number)
        elif trial.state in (State.COMPLETE, State.PRUNED) and not trial.is_confirmation:
            self.passed[trial.number] = trial.strategy
            self._measure(trial)

    def _measure(self, trial: Trial) -> None:
        own = {n: m.value for n, m in trial.result.measurements.items() if m.source is None}
        parts = measured_phases(trial)
        speed = _speed_leaves(own, trial)
        if speed:
            alone = CONCURRENT_TRIALS not in trial.result.environment
            self._put(Phase.PROFILE, trial, speed, shared=Phase.PROFILE in parts and alone)
        if trial.state is State.PRUNED:
            self.stopped[trial.number] = trial.strategy
            return
        if trial.origin != TrialOrigin.TRANSFERRED:
            self.points[trial.number] = trial
        training = self._training_leaves(trial, own)
        if training:
            right = trial.seed == self._study.task.seed
            self._put(Phase.TRAIN, trial, training, shared=Phase.TRAIN in parts and right)
        if (price := _rate(trial, "cost_usd")) is not None:
            self._prices[trial.number] = _holding(trial.strategy), price
        whole = {name: v for name, v in trial.metrics.items() if math.isfinite(v)}
        self._put(Phase.RUN, trial, whole, shared=False)
        self._time(trial, bool(speed), bool(training))

    def _put(self, half: Phase, trial: Trial, values: Mapping[str, float], *, shared: bool) -> None:
        place, hint = (
            group(trial.strategy, phase_levers(half)),
            trial.origin == TrialOrigin.TRANSFERRED,
        )
        shared = shared and self._study.sharing and not hint
        if shared:
            self.known[half].add(place)
        counts = {n: m.n for n, m in trial.result.measurements.items() if n in values}
        fact = Observation(trial.number, trial.strategy, values, counts, shared, hint)
        before = self.groups[half].get(place)
        if before is None or fact.rank < before.rank:
            self.groups[half][place] = fact
            self._ordered.pop(half, None)

    def _training_leaves(self, trial: Trial, own: Mapping[str, float]) -> dict[str, float]:
        leaves = {n: own[n] for n in self._wanted if _phase(n) is Phase.TRAIN and n in own}
        if not leaves:
            return {}
        samples = trial.metric(SAMPLES)
        seconds, speed = trial.metric(SECONDS), trial.metric(SPEED)
        if samples is None and seconds is not None and speed is not None:
            samples = (seconds - (trial.metric(SETUP) or 0.0)) * speed
        if samples is not None and samples > 0:
            leaves[SAMPLES] = samples / self.basis(trial.strategy)
        return {n: v for n, v in leaves.items() if math.isfinite(v)}

    def basis(self, strategy: Strategy) -> float:
        """What the number of examples trained is proportional to."""
        lever = "epochs" if self._study.task.steps is None else "batch_size"
        value = strategy.get(lever, 1.0)
        return float(value) if isinstance(value, int | float) and value > 0 else 1.0

    def _time(self, trial: Trial, speed: bool, training: bool) -> None:
        if trial.seconds is None or trial.imported:
            return
        beside = max(trial.seconds - (trial.metric(SECONDS) or 0.0), 0.0)
        if training:
            self._seconds[Phase.RUN if speed else Phase.TRAIN][trial.number] = beside
        elif speed:
            self._seconds[Phase.PROFILE][trial.number] = trial.seconds


def _phase(metric: str) -> Phase | None:
    return METRICS[metric].phase if metric in METRICS else None


def _wanted(study: Study) -> tuple[str, ...]:
    asked = [o.metric for o in study.objectives] + [c.metric for c in study.constraints]
    return tuple(dict.fromkeys([*asked, SAMPLES, "accuracy"]))


def _speed_leaves(own: Mapping[str, float], trial: Trial) -> dict[str, float]:
    found = {n: v for n, v in own.items() if _phase(n) is Phase.PROFILE and 0 < v < math.inf}
    energy = _rate(trial, "energy_wh")
    return found if energy is None or not found else {**found, POWER: energy}


def _rate(trial: Trial, metric: str) -> float | None:
    """The metric a second of training."""
    seconds, value = trial.metric(SECONDS), trial.metric(metric)
    return value / seconds if seconds and value is not None else None


def _holding(strategy: Strategy) -> tuple[Resources, Value]:
    """What a strategy pays for."""
    return required_resources(strategy), strategy.get("node_class", "any")


def _size(held: Resources) -> int:
    return len(held.devices) or held.cores
