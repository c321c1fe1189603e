"""Stop a trial early, with several objectives: when what it can still become does not matter.

Optuna's pruners refuse more than one objective. Here a trial is judged at its probe and at its
rungs by the best that it can still reach, objective by objective. All of it is a pure function of
what the store holds: the trials, and the points of their curves that carry metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.analysis.front import feasible_trials, find_baseline, non_dominated, signed_objectives
from autotune.components import STOPPING_RULES
from autotune.domain import CurvePoint, Objective, Phase, State, Strategy, Study, Trial
from autotune.domain.constraints import constraint_bound
from autotune.domain.metrics import METRICS
from autotune.domain.registry import import_object
from autotune.errors import StoreUnavailableError
from autotune.ports import Store
from autotune.search.history import History
from autotune.search.started_trial import StartedTrial

ScoreUpperBound = Callable[[Strategy, str, Sequence[Trial], float], float | None]
"""The best value of a training metric that a strategy can be hoped to reach by what others reached,
so many standard deviations above what is expected; ``None`` where nothing speaks against
anything."""

SPEED_SLACK = 0.05
"""By how much the speed of a whole run may be better than its probe's."""

MIN_FINISHED_TRIALS = 6
"""Finished trials from which it is told how trials go on after a rung."""

GAIN_QUANTILE = 0.95
"""Quantile of their gains that a trial is granted."""

SIGMAS_AT_PROFILE, AT_RUNG = 2.5, 2.0
"""How many standard deviations above what the model expects of its strategy a trial is granted. At
a rung its curve speaks as well; but those that have finished may all be unlike it."""

SAME_RUNG = 0.02
"""Shares of all steps that are as far apart count as one rung."""

ETA = 3
"""Successive halving lets one in so many pass a rung."""


@dataclass(frozen=True)
class TrialProgress:
    """Where a trial stands: its strategy, the last point of its curve, and what is known of it:
    figures of its probe and scores of its last rung, or shared from others."""

    strategy: Strategy
    point: CurvePoint
    figures: Mapping[str, float]
    scores: Mapping[str, float]

    @property
    def share(self) -> float:
        """Share of all steps taken."""
        return self.point.step / max(self.point.total_steps, 1)


class Curves:
    """Points with metrics by trial number, of all trials that a search has heard of."""

    def __init__(self) -> None:
        self._points: dict[int, list[CurvePoint]] = {}

    def add(self, number: int, *points: CurvePoint) -> None:
        self._points.setdefault(number, []).extend(p for p in points if p.metrics)

    def of(self, number: int) -> Sequence[CurvePoint]:
        return self._points.get(number, ())

    def missing(self, history: Sequence[Trial]) -> list[int]:
        """Finished trials of which nothing is known here: another driver's, or an older one's."""
        ended = (State.COMPLETE, State.PRUNED)
        return [t.number for t in history if t.state in ended and t.number not in self._points]

    def at(self, number: int, share: float, metric: str) -> float | None:
        """The metric at the trial's rung after ``share`` of all steps."""
        for point in self.of(number):
            if metric in point.metrics and abs(_share(point) - share) <= SAME_RUNG:
                return point.metrics[metric]
        return None


def _share(point: CurvePoint) -> float:
    return point.step / max(point.total_steps, 1)


def standing(
    strategy: Strategy, points: Sequence[CurvePoint], shared: Mapping[str, float]
) -> TrialProgress:
    """Where a trial stands after ``points`` (at least one); ``shared`` it has from others."""
    figures: dict[str, float] = dict(shared)
    scores: dict[str, float] = {}
    for point in points:
        for name, value in point.metrics.items():
            (scores if _is_score(name) else figures)[name] = value
    return TrialProgress(strategy, points[-1], figures, scores)


def _is_score(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].phase is Phase.TRAIN


def optimistic(
    study: Study,
    here: TrialProgress,
    history: Sequence[Trial],
    curves: Curves,
    ceiling: ScoreUpperBound | None = None,
) -> str | None:
    """Why the trial cannot matter any more, even if it goes on as well as trials have gone on.

    Scores may still grow as they did from this rung in the luckier of the finished trials that
    stood alike there; figures of the probe may turn out a little better.
    """

    def best(metric: str, sign: float) -> float:
        if _is_score(metric):
            return _best_score(metric, sign, here, history, curves, ceiling)
        value = here.figures.get(metric)
        return math.inf if value is None else sign * value + SPEED_SLACK * abs(value)

    return _breach(study, best, history) or _dominated(study, best, history)


def _best_score(
    metric: str,
    sign: float,
    here: TrialProgress,
    history: Sequence[Trial],
    curves: Curves,
    ceiling: ScoreUpperBound | None,
) -> float:
    """The signed score that the trial may still reach."""
    at_rung, hoped = metric in here.scores, None
    if ceiling is not None:
        deviations = AT_RUNG if at_rung else SIGMAS_AT_PROFILE
        hoped = ceiling(here.strategy, metric, history, deviations)
    if not at_rung:
        return math.inf if hoped is None else sign * hoped
    now, seen = sign * here.scores[metric], []
    for trial in history:
        if trial.state is not State.COMPLETE:
            continue
        then, final = curves.at(trial.number, here.share, metric), trial.metric(metric)
        if then is not None and final is not None:
            seen.append((abs(sign * then - now), sign * (final - then)))
    if len(seen) < MIN_FINISHED_TRIALS:
        return math.inf
    alike = sorted(seen)[: max(MIN_FINISHED_TRIALS, len(seen) // 2)]
    growth = [gain for _, gain in alike]
    grown = now + max(0.0, float(np.quantile(growth, GAIN_QUANTILE, method="higher")))
    return grown if hoped is None else max(grown, sign * hoped)


def _breach(
    study: Study, best: Callable[[str, float], float], history: Sequence[Trial]
) -> str | None:
    """The constraint that the trial will break whatever happens."""
    default = find_baseline(study, history)
    for constraint in study.constraints:
        limit = constraint_bound(constraint, default)
        sign = 1.0 if constraint.operator in (">=", ">") else -1.0
        reach = best(constraint.metric, sign)
        if limit is not None and reach < sign * limit:
            label = _label(constraint.metric)
            return f"{label} can be {sign * reach:.4g} at best; the study asks for {constraint}"
    return None


def _dominated(
    study: Study, best: Callable[[str, float], float], history: Sequence[Trial]
) -> str | None:
    """A finished trial that is at least as good in all that this one can still become."""
    members = feasible_trials(study, history)
    if not members:
        return None
    reach = np.array([best(o.metric, o.sign) for o in study.objectives])
    covered = (signed_objectives(study, members) >= reach).all(axis=1)
    if not covered.any():
        return None
    winner = members[int(np.argmax(covered))]
    hopes = ", ".join(
        f"{_label(o.metric)} {o.sign * hope:.4g}"
        for o, hope in zip(study.objectives, reach, strict=True)
    )
    return f"dominated by trial {winner.number} even if it reaches {hopes}"


def _label(metric: str) -> str:
    return METRICS[metric].label if metric in METRICS else metric


def asha(
    study: Study,
    here: TrialProgress,
    history: Sequence[Trial],
    curves: Curves,
    ceiling: ScoreUpperBound | None = None,
) -> str | None:
    """Why the trial does not pass its rung: too many that came by were better.

    Asynchronous successive halving by non-dominated rank (Schmucker et al. 2021, MO-ASHA): of all
    that reached this rung, those go on that fewer than one in ``ETA`` of them outrank.
    """
    del ceiling
    mine = _at_rung(study.objectives, here.figures, here.scores)
    others = [] if mine is None else list(_rivals(study.objectives, here.share, history, curves))
    if mine is None or len(others) + 1 < ETA:
        return None
    rank = _ranks(np.array([mine, *others]))
    better = int((rank < rank[0]).sum())
    if better < len(rank) / ETA:
        return None
    at = f"step {here.point.step} of {here.point.total_steps}"
    return f"outranked at {at} by {better} of the {len(others)} trials that came by"


def _rivals(
    objectives: Sequence[Objective], share: float, history: Sequence[Trial], curves: Curves
) -> Iterator[list[float]]:
    """What other trials were worth at this rung."""
    for trial in history:
        scores = {o.metric: curves.at(trial.number, share, o.metric) for o in objectives}
        known = {name: value for name, value in scores.items() if value is not None}
        if known and (row := _at_rung(objectives, trial.metrics, known)) is not None:
            yield row


def _at_rung(
    objectives: Sequence[Objective], figures: Mapping[str, float], scores: Mapping[str, float]
) -> list[float] | None:
    """Signed values of all objectives at a rung; ``None`` where one is not known there."""
    row = [(scores if _is_score(o.metric) else figures).get(o.metric) for o in objectives]
    if any(value is None for value in row):
        return None
    return [o.sign * v for o, v in zip(objectives, row, strict=True) if v is not None]


def _ranks(points: np.ndarray) -> np.ndarray:
    """The front that each point is on: 0 for the first, 1 for what is the first without it..."""
    ranks = np.zeros(len(points), dtype=int)
    left = np.arange(len(points))
    rank = 0
    while left.size:
        best = non_dominated(points[left])
        ranks[left[best]] = rank
        left, rank = left[~best], rank + 1
    return ranks


FEW = 8
"""So many curves are read one by one, more of them in one go."""


class EarlyStopper:
    """Judges running trials by what the store holds of all others."""

    def __init__(
        self, study: Study, store: Store, history: History, ceiling: ScoreUpperBound
    ) -> None:
        self._study, self._store, self._history = study, store, history
        self._ceiling = ceiling
        self._curves = Curves()

    def should_stop(self, started: StartedTrial, point: CurvePoint) -> str | None:
        """A reason to stop the trial at ``point``; ``None`` if it can still matter."""
        trial = started.trial
        self._curves.add(trial.number, point)
        rule = import_object(STOPPING_RULES[self._study.stopping].should_stop)
        if rule is None or not point.metrics or not trial.may_be_stopped:
            return None
        if Phase.TRAIN not in started.job.phases:
            return None  # a trial without training ends after its profile phase anyway
        try:
            history = self._history.refresh()
            self._listen_to(self._curves.missing(history))
        except StoreUnavailableError:
            return None  # without the other trials there is no evidence against this one
        cached = started.cache_hit.profile
        here = standing(
            trial.strategy, self._curves.of(trial.number), cached.metrics if cached else {}
        )
        reason: str | None = rule(self._study, here, history, self._curves, self._ceiling)
        return reason

    def _listen_to(self, numbers: Sequence[int]) -> None:
        """Read how the trials of an earlier session, or of another driver, went."""
        if len(numbers) > FEW:
            curves = self._store.curves(self._study.name)
        else:
            curves = {n: self._store.trial(self._study.name, n).result.curve for n in numbers}
        for number in numbers:
            self._curves.add(number, *curves.get(number, ()))
