"""Optuna's samplers behind our :class:`~autotune.ports.Sampler` (the only ``import optuna``).

An in-memory Optuna study mirrors the trials of the store and is grown as they finish; it is a
cache, not a memory: each ask seeds a fresh sampler from the study's seed and the length of the
history, so that a driver resumed from the store proposes what the killed one would have.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats.qmc import Sobol

from autotune.domain import (
    Categorical,
    Dimension,
    FailureReason,
    Range,
    SearchSpace,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    Value,
    WorkloadProfile,
    digest,
)
from autotune.domain.constraints import violations
from autotune.domain.search_space import complete, contains, excluded, grid, is_active, quantile
from autotune.ports import Sampler
from autotune.search.samplers.factored import FactoredSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)

STARTUP_TRIALS = 8
"""Random trials before TPE has something to learn from; a search is often only 24 trials long."""

ATTEMPTS = 64
"""Proposals drawn before the space is taken to be exhausted near where the sampler looks."""

POPULATION = 16

GENERATION = optuna.samplers.NSGAIISampler._get_generation_key()
"""Where the genetic sampler looks for the generation of a trial; without it none has parents."""

PARENTS = optuna.samplers.NSGAIISampler._get_parent_cache_key_prefix()

INFEASIBLE_VIOLATION = 1e3
"""The violation of a strategy that ended without a result: worse than any breach of a bound."""

QMC_POINTS = 512
"""Points of the Sobol sequence drawn at a time: a power of two keeps its balance."""

Encoded = Mapping[str, Any]


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True,
        constant_liar=True,
    )  # fmt: skip


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


_MAKERS: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": _tpe,
    "nsga2": _nsga2,
    "random": _random,
}


class OptunaSampler:
    """One of Optuna's samplers over a space with conditions, rules and constraints."""

    def __init__(self, study: Study, kind: str) -> None:
        self._study = study
        self._make = _MAKERS[kind]
        self._mirror, self._tried = _OptunaStudyCache(study), _SeenStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` when nothing new was found in :data:`ATTEMPTS` draws."""
        mirror = self._mirror.show(history)
        seen = self._tried.keys(history)
        for attempt in range(ATTEMPTS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                seed = _seed(self._study.sampler.seed, len(history), attempt)
                mirror.sampler = self._make(seed)
            strategy = self._draw(mirror)
            if strategy.key not in seen and excluded(self._study.space, strategy) is None:
                return strategy
        return _any_unseen(self._study.space, seen, self._study.sampler.seed)

    def _draw(self, mirror: optuna.Study) -> Strategy:
        """One proposal, in define-by-run order so that conditions see the levers before them."""
        trial = mirror.ask()
        chosen: dict[str, Value] = {}
        for dimension in self._study.space.dimensions:
            if is_active(self._study.space, dimension, chosen):
                chosen[dimension.lever] = _suggest(trial, dimension)
        mirror.tell(trial, state=TrialState.FAIL)
        return complete(self._study.space, chosen)


class GridSampler:
    """Every strategy of the space once, in an order shuffled by the seed."""

    def __init__(self, study: Study) -> None:
        strategies = list(grid(study.space))
        random.Random(_seed(study.sampler.seed)).shuffle(strategies)
        self._strategies, self._tried = strategies, _SeenStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        seen = self._tried.keys(history)
        return next((s for s in self._strategies if s.key not in seen), None)


class QmcSampler:
    """A scrambled Sobol sequence over the space: even coverage, no learning.

    The first point not tried yet is proposed, so the place in the sequence follows from the
    history. Source: Owen (1997), scrambled net variance; SciPy's implementation.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        dimensions = max(len(study.space.dimensions), 1)
        self._sequence = Sobol(dimensions, rng=_seed(study.sampler.seed))
        self._points: list[Strategy] = []
        self._tried = _SeenStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        seen = self._tried.keys(history)
        for index in range(len(history) + QMC_POINTS):
            strategy = self._point(index)
            if strategy.key not in seen and excluded(self._study.space, strategy) is None:
                return strategy
        return _any_unseen(self._study.space, seen, self._study.sampler.seed)

    def _point(self, index: int) -> Strategy:
        while index >= len(self._points):
            for row in self._sequence.random(QMC_POINTS):
                self._points.append(self._strategy(row.tolist()))
        return self._points[index]

    def _strategy(self, shares: Sequence[float]) -> Strategy:
        dimensions = self._study.space.dimensions
        chosen = {
            dimension.lever: quantile(dimension.domain, share)
            for dimension, share in zip(dimensions, shares, strict=False)
        }
        return complete(self._study.space, chosen)


class _SeenStrategies:
    """The strategies tried here by key. Histories only ever grow; a shorter one is another."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._count = 0

    def keys(self, history: Sequence[Trial]) -> set[str]:
        if len(history) < self._count:
            self._keys, self._count = set(), 0
        new = history[self._count :]
        self._keys.update(
            trial.strategy.key for trial in new if trial.origin != TrialOrigin.TRANSFERRED
        )
        self._count = len(history)
        return self._keys


class _OptunaStudyCache:
    """An Optuna study in memory that holds what the store holds.

    Ours and Optuna's trial numbers differ, since every proposal leaves a failed (and ignored)
    trial behind; ``ids`` maps ours to Optuna's for those still running.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        directions = [objective.direction for objective in study.objectives]
        self._mirror = optuna.create_study(directions=directions)
        self._shown = 0
        """How many trials have been looked at; those of them in ``_running`` had not ended."""
        self._running: dict[int, int] = {}
        self._complete = 0

    def show(self, history: Sequence[Trial]) -> optuna.Study:
        baseline = next((t for t in history if t.origin == TrialOrigin.DEFAULT and t.metrics), None)
        ended = [history[n] for n in self._running if history[n].state.finished]
        for trial in (*ended, *history[self._shown :]):
            self._add(trial, baseline)
        self._shown = len(history)
        self._forget_parents()
        return self._mirror

    def _forget_parents(self) -> None:
        """The genetic sampler keeps the parents of a generation, in another order than it found
        them: what it proposes would depend on whether it was asked before."""
        storage, study_id = self._mirror._storage, self._mirror._study_id
        for key in storage.get_study_system_attrs(study_id):
            if key.startswith(PARENTS):
                storage.set_study_system_attr(study_id, key, None)

    def _add(self, trial: Trial, baseline: Trial | None) -> None:
        storage, study_id = self._mirror._storage, self._mirror._study_id
        frozen = _frozen(self._study, trial, baseline)
        if frozen.state is TrialState.COMPLETE:
            frozen.system_attrs[GENERATION] = self._complete // POPULATION
            self._complete += 1
        running = self._running.get(trial.number)
        if running is not None:
            for name, violation in frozen.constraints.items():
                storage.set_trial_system_attr(running, f"constraints:{name}", violation)
            if GENERATION in frozen.system_attrs:
                generation = frozen.system_attrs[GENERATION]
                storage.set_trial_system_attr(running, GENERATION, generation)
            storage.set_trial_state_values(running, frozen.state, frozen.values)
            del self._running[trial.number]
        else:
            trial_id = storage.create_new_trial(study_id, template_trial=frozen)
            if not trial.state.finished:
                self._running[trial.number] = trial_id


def _frozen(study: Study, trial: Trial, baseline: Trial | None) -> FrozenTrial:
    """Our trial as Optuna's. A breach of a constraint and a strategy that cannot run are both
    constraints to Optuna; what says nothing about the strategy (interrupted) is a failed trial,
    which Optuna's samplers leave out."""
    params, distributions = _encode(study.space, trial.strategy)
    names = [objective.metric for objective in study.objectives]
    values = [trial.metrics[name] for name in names if name in trial.metrics]
    measured = len(values) == len(names)
    state, constraints = TrialState.RUNNING, {}
    if trial.state is State.COMPLETE and measured and not trial.is_confirmation:
        state = TrialState.COMPLETE
        constraints = violations(study, trial, baseline)
    elif trial.state is State.PRUNED:
        state = TrialState.PRUNED
    elif _says_nothing(trial):
        state = TrialState.FAIL
    elif trial.state.finished:
        # Complete, since the genetic sampler looks at no others; the values are never compared.
        state, values, constraints = (
            TrialState.COMPLETE,
            [0.0] * len(names),
            {"runs": INFEASIBLE_VIOLATION},
        )
    now = datetime.now(UTC).replace(tzinfo=None)
    frozen = create_trial(
        state=state if state.is_finished() else TrialState.FAIL,
        values=values if state is TrialState.COMPLETE else None,
        params=params,
        distributions=distributions,
        constraints=constraints or None,
    )
    frozen.state = state
    frozen.datetime_start = now
    return frozen


def _says_nothing(trial: Trial) -> bool:
    """Whether a trial that did not measure every objective tells nothing of its strategy either:
    it broke off, was judged on other data, or is half a hint from another machine."""
    if not trial.is_result:
        return True
    return trial.state is State.INTERRUPTED or trial.failure == FailureReason.INFRASTRUCTURE


def _encode(
    space: SearchSpace, strategy: Strategy
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for dimension in space.dimensions:
        value = strategy[dimension.lever]
        active = is_active(space, dimension, strategy.values)
        if active and contains(dimension.domain, value):
            distributions[dimension.lever] = _distribution(dimension)
            params[dimension.lever] = _encoded(dimension.domain, value)
    return params, distributions


def _is_ordinal(choice: Categorical) -> bool:
    """Numbers in rising order: neighbours are alike, which a categorical would hide."""
    numbers = [v for v in choice.values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(numbers) == len(choice.values) > 1 and numbers == sorted(numbers)


def _distribution(dimension: Dimension) -> BaseDistribution:
    domain = dimension.domain
    if isinstance(domain, Categorical):
        if _is_ordinal(domain):
            return IntDistribution(0, len(domain.values) - 1)
        return CategoricalDistribution(domain.values)
    if domain.integer:
        return IntDistribution(
            int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1)
        )
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Value:
    distribution, name = _distribution(dimension), dimension.lever
    encoded: Any
    if isinstance(distribution, IntDistribution):
        encoded = trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    elif isinstance(distribution, FloatDistribution):
        encoded = trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    else:
        assert isinstance(distribution, CategoricalDistribution)
        encoded = trial.suggest_categorical(name, distribution.choices)
    return _decode(dimension, encoded)


def _encoded(domain: Categorical | Range, value: Value) -> Any:
    if isinstance(domain, Categorical) and _is_ordinal(domain):
        return domain.values.index(value)
    return value


def _decode(dimension: Dimension, encoded: Any) -> Value:
    domain = dimension.domain
    if isinstance(domain, Categorical):
        value: Value = domain.values[encoded] if _is_ordinal(domain) else encoded
        return value
    if domain.integer:
        return int(encoded)
    return float(f"{encoded:.4g}")


def _seed(*parts: int) -> int:
    return int(digest(list(parts))[:8], 16)


def _any_unseen(space: SearchSpace, seen: set[str], seed: int) -> Strategy | None:
    """What is left of a nearly exhausted space: any strategy of its grid not tried yet."""
    unseen = (strategy for strategy in grid(space, points=16) if strategy.key not in seen)
    nearby = [strategy for _, strategy in zip(range(256), unseen, strict=False)]
    return random.Random(_seed(seed, len(seen))).choice(nearby) if nearby else None


def make_sampler(study: Study, anatomy: WorkloadProfile | None = None) -> Sampler:
    """The sampler that the study names; one that learns speeds begins with ``anatomy``."""
    kind = study.sampler.kind
    if kind == "factored":
        return FactoredSampler(study, anatomy)
    if kind in _MAKERS:
        return OptunaSampler(study, kind)
    return GridSampler(study) if kind == "grid" else QmcSampler(study)


SAMPLERS = ("factored", *_MAKERS, "grid", "qmc")
