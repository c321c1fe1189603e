"""Adapter of Optuna's samplers to :class:`~autotune.ports.Sampler`.

An in-memory Optuna study is kept in step with the store. It is a cache without state of its own:
every call creates a sampler whose seed depends on the seed of the study and the length of the
history. A resumed search therefore proposes what the killed one would have proposed.

Two system attributes of Optuna's genetic sampler have no public name: the generation of a trial
and the cached parents of a generation. Optuna writes them for trials that its own sampler
proposed, while ours come from the store. Optuna's major version is pinned, and the sampler tests
fail if these names change.
"""

from __future__ import annotations

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

from autotune.analysis.optuna_distributions import distribution
from autotune.domain import (
    Categorical,
    Dimension,
    Range,
    SearchSpace,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    Value,
)
from autotune.domain.constraints import violation_ratios
from autotune.domain.search_space import complete, contains, excluded, is_active
from autotune.tuner.samplers.common import TriedStrategies, choose_untried, derive_seed

optuna.logging.set_verbosity(optuna.logging.WARNING)

STARTUP_TRIALS = 8
"""Random trials before TPE fits its estimators; searches often have only 24 trials."""

MAX_ATTEMPTS = 64
"""Proposals to draw before falling back to the untried strategies of the grid."""

POPULATION_SIZE = 16

GENERATION_KEY = optuna.samplers.NSGAIISampler._get_generation_key()
"""System attribute with the generation of a trial; trials without it have no descendants."""

PARENTS_KEY_PREFIX = optuna.samplers.NSGAIISampler._get_parent_cache_key_prefix()

INFEASIBLE_VIOLATION = 1e3
"""Constraint violation of a strategy without a result: larger than that of any measured one."""


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True,
        constant_liar=True,
    )  # fmt: skip


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION_SIZE)


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


_FACTORIES: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": _tpe,
    "nsga2": _nsga2,
    "random": _random,
}


class OptunaSampler:
    """One of Optuna's samplers over a space with conditions, rules and constraints."""

    def __init__(self, study: Study, kind: str) -> None:
        self._study = study
        self._create_sampler = _FACTORIES[kind]
        self._cache, self._tried = _OptunaStudyCache(study), TriedStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` if the space is exhausted."""
        optuna_study = self._cache.update(history)
        tried = self._tried.keys(history)
        for attempt in range(MAX_ATTEMPTS):
            seed = derive_seed(self._study.sampler.seed, len(history), attempt)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna_study.sampler = self._create_sampler(seed)
            strategy = self._propose(optuna_study)
            if strategy.key not in tried and excluded(self._study.space, strategy) is None:
                return strategy
        return choose_untried(self._study.space, tried, self._study.sampler.seed)

    def _propose(self, optuna_study: optuna.Study) -> Strategy:
        """One proposal, define-by-run, so that conditions can use the levers before them."""
        optuna_trial = optuna_study.ask()
        values: dict[str, Value] = {}
        for dimension in self._study.space.dimensions:
            if is_active(self._study.space, dimension, values):
                values[dimension.lever] = _suggest(optuna_trial, dimension)
        optuna_study.tell(optuna_trial, state=TrialState.FAIL)
        return complete(self._study.space, values)


class _OptunaStudyCache:
    """An in-memory Optuna study with the trials of the store.

    Every proposal leaves a failed trial behind, which samplers ignore. Optuna's trial numbers
    therefore differ from ours; ``_running`` maps our number to Optuna's id.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._storage = optuna.storages.InMemoryStorage()
        self._optuna_study = optuna.create_study(
            storage=self._storage,
            directions=[objective.direction for objective in study.objectives],
        )
        self._study_id = self._storage.get_study_id_from_name(self._optuna_study.study_name)
        self._trial_count = 0
        self._running: dict[int, int] = {}
        self._complete_count = 0

    def update(self, history: Sequence[Trial]) -> optuna.Study:
        """Add the new trials of ``history`` and those that finished since the last call, without
        repetitions with other seeds."""
        baseline = next((t for t in history if t.origin == TrialOrigin.DEFAULT and t.metrics), None)
        finished = [
            history[number] for number in self._running if history[number].state.is_finished
        ]
        for trial in (*finished, *history[self._trial_count :]):
            if not trial.has_another_seed:
                self._add(trial, baseline)
        self._trial_count = len(history)
        self._clear_parents()
        return self._optuna_study

    def _clear_parents(self) -> None:
        """Delete the cached parents of each generation: their order depends on earlier calls, and
        with it the proposals."""
        for key in self._storage.get_study_system_attrs(self._study_id):
            if key.startswith(PARENTS_KEY_PREFIX):
                self._storage.set_study_system_attr(self._study_id, key, None)

    def _add(self, trial: Trial, baseline: Trial | None) -> None:
        storage = self._storage
        frozen = _freeze(self._study, trial, baseline)
        if frozen.state is TrialState.COMPLETE:
            frozen.system_attrs[GENERATION_KEY] = self._complete_count // POPULATION_SIZE
            self._complete_count += 1
        running_id = self._running.get(trial.number)
        if running_id is not None:
            for name, violation in frozen.constraints.items():
                storage.set_trial_system_attr(running_id, f"constraints:{name}", violation)
            if GENERATION_KEY in frozen.system_attrs:
                generation = frozen.system_attrs[GENERATION_KEY]
                storage.set_trial_system_attr(running_id, GENERATION_KEY, generation)
            storage.set_trial_state_values(running_id, frozen.state, frozen.values)
            del self._running[trial.number]
        else:
            trial_id = storage.create_new_trial(self._study_id, template_trial=frozen)
            if not trial.state.is_finished:
                self._running[trial.number] = trial_id


def _freeze(study: Study, trial: Trial, baseline: Trial | None) -> FrozenTrial:
    """``trial`` as a trial of Optuna.

    Violated constraints and infeasible strategies are both constraints to Optuna. A trial without
    information about its strategy becomes a failed trial, which Optuna's samplers ignore.
    """
    params, distributions = _encode(study.space, trial.strategy)
    names = [objective.metric for objective in study.objectives]
    values = [trial.metrics[name] for name in names if name in trial.metrics]
    state, constraints = TrialState.RUNNING, {}
    is_measured = len(values) == len(names)
    if trial.state is State.COMPLETE and is_measured:
        state = TrialState.COMPLETE
        constraints = violation_ratios(study, trial, baseline)
    elif trial.state is State.PRUNED:
        state = TrialState.PRUNED
    elif not trial.is_result or not trial.is_informative:
        state = TrialState.FAIL
    elif trial.state.is_finished:
        # Complete, since the genetic sampler ignores all others; the values are never compared.
        state, values = TrialState.COMPLETE, [0.0] * len(names)
        constraints = {"runs": INFEASIBLE_VIOLATION}
    frozen = create_trial(
        state=state if state.is_finished() else TrialState.FAIL,
        values=values if state is TrialState.COMPLETE else None,
        params=params,
        distributions=distributions,
        constraints=constraints or None,
    )
    frozen.state = state
    frozen.datetime_start = datetime.now(UTC).replace(tzinfo=None)
    return frozen


def _encode(
    space: SearchSpace, strategy: Strategy
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Parameters and distributions of the active levers whose value the space contains."""
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for dimension in space.dimensions:
        value = strategy[dimension.lever]
        if is_active(space, dimension, strategy.values) and contains(dimension.domain, value):
            distributions[dimension.lever] = _distribution(dimension)
            params[dimension.lever] = _encode_value(dimension.domain, value)
    return params, distributions


def _is_ordinal(domain: Categorical) -> bool:
    """Whether the values are ascending numbers: as a categorical they would lose their order."""
    numbers = [v for v in domain.values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(numbers) == len(domain.values) > 1 and numbers == sorted(numbers)


def _distribution(dimension: Dimension) -> BaseDistribution:
    domain = dimension.domain
    if isinstance(domain, Categorical) and _is_ordinal(domain):
        return IntDistribution(0, len(domain.values) - 1)
    return distribution(domain)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Value:
    name, domain = dimension.lever, _distribution(dimension)
    encoded: Any
    if isinstance(domain, IntDistribution):
        encoded = trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
    elif isinstance(domain, FloatDistribution):
        encoded = trial.suggest_float(
            name, domain.low, domain.high, step=domain.step, log=domain.log
        )
    else:
        assert isinstance(domain, CategoricalDistribution)
        encoded = trial.suggest_categorical(name, domain.choices)
    return _decode_value(dimension.domain, encoded)


def _encode_value(domain: Categorical | Range, value: Value) -> Any:
    if isinstance(domain, Categorical) and _is_ordinal(domain):
        return domain.values.index(value)
    return value


def _decode_value(domain: Categorical | Range, encoded: Any) -> Value:
    if isinstance(domain, Categorical):
        value: Value = domain.values[encoded] if _is_ordinal(domain) else encoded
        return value
    return int(encoded) if domain.integer else float(f"{encoded:.4g}")
