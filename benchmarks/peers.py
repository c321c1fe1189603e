"""Other search libraries, each used as documented, over a tabular benchmark.

All have the same space and start after the default configuration was measured, which gives the
bounds of relative constraints. They pay the recorded seconds of each trial, until the rung if they
stop it early, and nothing for a repeated proposal. Values are reported to them as recorded. A
constraint is given to each in the form that it has for one; MO-ASHA has none and ignores it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from replay import Scorer, SearchTrace, TraceStep

from autotune.domain import (
    Categorical,
    Constraint,
    Dimension,
    Job,
    Limits,
    Resources,
    Strategy,
    Task,
    Value,
)
from autotune.domain.search_space import complete
from autotune.execution.replay.benchmark import Record
from autotune.execution.replay.events import replay_events

MAX_PROPOSALS = 1_000
"""Proposals after which a search that repeats itself is ended."""

Settings = Mapping[str, Any]


class Peer(Protocol):
    """An ask-and-tell interface. ``should_stop`` is called at each rung of a trial."""

    def ask(self) -> tuple[Any, Settings]:
        """A handle of the trial, and a value of every lever."""

    def tell(self, handle: Any, values: Mapping[str, float]) -> None: ...
    def should_stop(self, handle: Any, index: int, values: Mapping[str, float]) -> bool: ...


@dataclass(frozen=True)
class Space:
    """The search space of the peers: levers with their values, metrics with their signs, for each
    metric the reference point and the unit of the hypervolume (of the signed value), and
    constraints with their bounds in the unit of the metric."""

    levers: Mapping[str, tuple[Value, ...]]
    signs: Mapping[str, float]
    frames: Sequence[tuple[float, float]] = ()
    bounds: Sequence[tuple[Constraint, float]] = ()

    @staticmethod
    def from_scorer(scorer: Scorer) -> Space:
        study = scorer.study
        levers = {d.lever: _settings(d) for d in study.space.dimensions}
        default = _record(scorer, study.baseline).measurements
        return Space(
            {name: values for name, values in levers.items() if len(values) > 1},
            {objective.metric: objective.sign for objective in study.objectives},
            scorer.frames,
            [
                (
                    constraint,
                    constraint.bound + constraint.relative * default[constraint.metric].value,
                )
                for constraint in study.constraints
            ],
        )

    def violations(self, values: Mapping[str, float]) -> list[float]:
        """By how much a trial violates each constraint; negative or 0 where it satisfies it."""
        return [
            sign_of(constraint) * (bound - values[constraint.metric])
            for constraint, bound in self.bounds
        ]

    def is_ordered(self, lever: str) -> bool:
        """Whether the values are numbers."""
        return all(isinstance(v, int | float) and not isinstance(v, bool)
                   for v in self.levers[lever])  # fmt: skip


def sign_of(constraint: Constraint) -> int:
    """1 if the metric has to be at least the bound, -1 if at most."""
    return 1 if constraint.operator in (">=", ">") else -1


def _settings(dimension: Dimension) -> tuple[Value, ...]:
    assert isinstance(dimension.domain, Categorical), "a recorded grid has categorical levers only"
    return dimension.domain.values


def run_peer(
    scorer: Scorer, peer: Peer, target: float, max_proposals: int = MAX_PROPOSALS
) -> SearchTrace:
    """A search of ``peer`` until it has reached the share ``target`` of the hypervolume."""
    trace, has_ended, default = SearchTrace(), scorer.ending(target), scorer.study.baseline
    finished: set[str] = set()
    paid: dict[str, float] = {}
    _pay(trace, paid, default, _record(scorer, default).seconds)
    has_ended(_add_step(trace, default), trace.seconds)
    for _ in range(max_proposals):
        start = time.process_time()
        handle, settings = peer.ask()
        trace.ask_seconds.append(time.process_time() - start)
        strategy = complete(scorer.study.space, _with_fixed_levers(scorer, settings))
        record = _record(scorer, strategy)
        stopped = False
        for index, (seconds, values) in enumerate(rungs(record)):
            _pay(trace, paid, strategy, seconds)
            if stopped := peer.should_stop(handle, index, values):
                break
        if stopped:
            trace.stopped.append(TraceStep(trace.seconds, strategy, sum(trace.ask_seconds)))
            continue
        _pay(trace, paid, strategy, record.seconds)
        peer.tell(handle, {n: m.value for n, m in record.measurements.items()})
        if strategy.key not in finished:
            finished.add(strategy.key)
            if has_ended(_add_step(trace, strategy), trace.seconds):
                break
    return trace


def _with_fixed_levers(scorer: Scorer, settings: Settings) -> dict[str, Value]:
    """``settings`` with the levers that the study fixes."""
    fixed = {d.lever: _settings(d)[0] for d in scorer.study.space.dimensions}
    return {**fixed, **settings}


def _record(scorer: Scorer, strategy: Strategy) -> Record:
    record = scorer.landscape.find(strategy, scorer.study.task.seed)
    if record is None:
        raise LookupError(f"the benchmark has no record of {dict(strategy.values)}")
    return record


def _pay(trace: SearchTrace, paid: dict[str, float], strategy: Strategy, seconds: float) -> None:
    """Add the time of ``strategy`` beyond what was paid for it before."""
    trace.seconds += max(0.0, seconds - paid.get(strategy.key, 0.0))
    paid[strategy.key] = max(seconds, paid.get(strategy.key, 0.0))


def _add_step(trace: SearchTrace, strategy: Strategy) -> Strategy:
    trace.steps.append(TraceStep(trace.seconds, strategy, sum(trace.ask_seconds)))
    return strategy


def rungs(record: Record) -> Iterator[tuple[float, Mapping[str, float]]]:
    """(seconds, metrics) of a trial's rungs: the scores there, and its speed and cost."""
    values = {name: m.value for name, m in record.measurements.items()}
    job = Job("", 0, record.strategy, Task(), record.seed, Resources(), Limits(), "")
    for seconds, event in replay_events(record, job):
        scores = getattr(event, "metrics", {})
        if "accuracy" in scores:
            yield seconds, {**values, **scores}


# ----------------------------------------------------------------------------------- random search


class RandomSearch:
    """Samples the grid uniformly."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._random = space, np.random.default_rng(seed)

    def ask(self) -> tuple[None, Settings]:
        levers = self._space.levers.items()
        return None, {name: v[int(self._random.integers(len(v)))] for name, v in levers}

    def tell(self, handle: None, values: Mapping[str, float]) -> None: ...

    def should_stop(self, handle: None, index: int, values: Mapping[str, float]) -> bool:
        return False


# ------------------------------------------------------------------------------------------ Optuna


class Optuna:
    """A multi-objective study; numeric levers are integers over their indices, which keeps their
    order."""

    def __init__(self, space: Space, seed: int, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        make = getattr(optuna.samplers, sampler)
        directions = ["maximize" if sign > 0 else "minimize" for sign in space.signs.values()]
        self._space = space
        self._study = optuna.create_study(directions=directions, sampler=make(seed=seed))

    def ask(self) -> tuple[Any, Settings]:
        trial, settings = self._study.ask(), {}
        for name, values in self._space.levers.items():
            if self._space.is_ordered(name):
                settings[name] = values[trial.suggest_int(name, 0, len(values) - 1)]
            else:
                settings[name] = trial.suggest_categorical(name, values)
        return trial, settings

    def tell(self, handle: Any, values: Mapping[str, float]) -> None:
        for index, violation in enumerate(self._space.violations(values)):
            handle.set_constraint(str(index), violation)
        self._study.tell(handle, [values[metric] for metric in self._space.signs])

    def should_stop(self, handle: Any, index: int, values: Mapping[str, float]) -> bool:
        return False  # its pruners take one objective


# --------------------------------------------------------------------------------------- Syne Tune


class MoAsha:
    """Syne Tune's MOASHA. The recorded rungs are after a quarter and a half of the steps, so time
    is in quarters and each rung keeps half of the trials. It minimizes, so signs are reversed."""

    QUARTERS = (1, 2)

    def __init__(self, space: Space, seed: int) -> None:
        from syne_tune import config_space
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        np.random.seed(seed)  # its samples are drawn from the global generator
        self._space, self._number = space, 0
        self._scheduler = MOASHA(
            {name: config_space.choice(list(v)) for name, v in space.levers.items()},
            metrics=list(space.signs),
            time_attr="quarter",
            max_t=4,
            grace_period=1,
            reduction_factor=2,
            random_seed=seed,
        )

    def ask(self) -> tuple[Any, Settings]:
        from syne_tune.backend.trial_status import Trial

        suggestion = self._scheduler.suggest()
        trial = Trial(self._number, suggestion.config, datetime.now())
        self._number += 1
        self._scheduler.on_trial_add(trial)
        return trial, suggestion.config

    def should_stop(self, handle: Any, index: int, values: Mapping[str, float]) -> bool:
        decision = self._scheduler.on_trial_result(
            handle, self._result(self.QUARTERS[index], values)
        )
        return bool(decision == "STOP")

    def tell(self, handle: Any, values: Mapping[str, float]) -> None:
        self._scheduler.on_trial_complete(handle, self._result(4, values))

    def _result(self, quarter: int, values: Mapping[str, float]) -> dict[str, float]:
        losses = {metric: -sign * values[metric] for metric, sign in self._space.signs.items()}
        return {"quarter": quarter, **losses}


# ---------------------------------------------------------------------------------------------- Ax


class Ax:
    """Ax's client with its default generation strategy: Sobol, then a Gaussian process with
    expected hypervolume improvement."""

    def __init__(self, space: Space, seed: int) -> None:
        import logging

        import torch
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig
        from ax.utils.common.logger import set_ax_logger_levels

        set_ax_logger_levels(logging.ERROR)
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        self._space = space
        self._client = Client(random_seed=seed)
        self._client.configure_experiment(
            [
                ChoiceParameterConfig(
                    name=name,
                    values=list(values),
                    parameter_type=type(values[0]).__name__,
                    is_ordered=space.is_ordered(name),
                )
                for name, values in space.levers.items()
            ]
        )
        objectives = (f"{'' if sign > 0 else '-'}{metric}" for metric, sign in space.signs.items())
        constraints = [
            f"{constraint.metric} {'>=' if sign_of(constraint) > 0 else '<='} {bound}"
            for constraint, bound in space.bounds
        ]
        self._client.configure_optimization(
            objective=", ".join(objectives), outcome_constraints=constraints or None
        )

    def ask(self) -> tuple[Any, Settings]:
        [(index, settings)] = self._client.get_next_trials(max_trials=1).items()
        return index, settings

    def tell(self, handle: Any, values: Mapping[str, float]) -> None:
        metrics = {*self._space.signs, *(constraint.metric for constraint, _ in self._space.bounds)}
        objectives = {metric: values[metric] for metric in metrics}
        self._client.complete_trial(trial_index=handle, raw_data=objectives)

    def should_stop(self, handle: Any, index: int, values: Mapping[str, float]) -> bool:
        return False


def q_log_nehvi(space: Space, seed: int) -> Peer:
    from botorch_peers import QLogNehvi

    return QLogNehvi(space, seed)


PEERS: Mapping[str, Callable[[Space, int], Peer]] = {
    "random": RandomSearch,
    "Optuna TPE": lambda space, seed: Optuna(space, seed, "TPESampler"),
    "Optuna NSGA-II": lambda space, seed: Optuna(space, seed, "NSGAIISampler"),
    "Optuna GP": lambda space, seed: Optuna(space, seed, "GPSampler"),
    "BoTorch qLogNEHVI": q_log_nehvi,
    "Syne Tune MO-ASHA": MoAsha,
    "Ax": Ax,
}
