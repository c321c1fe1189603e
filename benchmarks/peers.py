"""The peers, each driven the way its documentation says, over a recorded landscape.

All get the same space, pay the recorded seconds of each trial (of what it ran, where they stop it
early), pay nothing for a strategy that they propose again, and begin after the default
configuration has been measured. Every number is told as it was measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from replaying import Judge, Step, Walk

from autotune.domain import Categorical, Dimension, Job, Limits, Resources, Strategy, Task, Value
from autotune.domain.search_space import complete
from autotune.execution.replay.benchmark import Record
from autotune.execution.replay.events import replay_events

PROPOSALS = 1_000
"""Where a peer is given up that keeps proposing what it knows."""

Settings = Mapping[str, Any]


class Peer(Protocol):
    """Asked and told in turns. ``rung`` says whether a trial is to be stopped there."""

    def ask(self) -> tuple[Any, Settings]:
        """A handle of the trial, and a setting of every lever."""

    def tell(self, handle: Any, values: Mapping[str, float]) -> None: ...
    def rung(self, handle: Any, index: int, values: Mapping[str, float]) -> bool: ...


@dataclass(frozen=True)
class Space:
    """What the peers are told of the study: levers with their settings, metrics and directions."""

    levers: Mapping[str, tuple[Value, ...]]
    signs: Mapping[str, float]

    @staticmethod
    def of(judge: Judge) -> Space:
        study = judge.study
        levers = {d.lever: _settings(d) for d in study.space.dimensions}
        return Space(
            {name: values for name, values in levers.items() if len(values) > 1},
            {objective.metric: objective.sign for objective in study.objectives},
        )

    def is_ordered(self, lever: str) -> bool:
        """Whether neighbours are alike: numbers, in rising order."""
        return all(isinstance(v, int | float) and not isinstance(v, bool)
                   for v in self.levers[lever])  # fmt: skip


def _settings(dimension: Dimension) -> tuple[Value, ...]:
    assert isinstance(dimension.domain, Categorical), "a recorded grid has choices only"
    return dimension.domain.values


def walk(judge: Judge, peer: Peer, enough: float, proposals: int = PROPOSALS) -> Walk:
    """Let ``peer`` search until it has reached ``enough`` of the hypervolume."""
    done, add, default = Walk(), judge.progress(), judge.study.baseline
    finished: set[str] = set()
    paid: dict[str, float] = {}
    _pay(done, paid, default, _record(judge, default).seconds)
    add(_step(done, default))
    for _ in range(proposals):
        begun = time.process_time()
        handle, settings = peer.ask()
        done.asked.append(time.process_time() - begun)
        strategy = complete(judge.study.space, _whole(judge, settings))
        record = _record(judge, strategy)
        stopped = False
        for index, (seconds, values) in enumerate(rungs(record)):
            _pay(done, paid, strategy, seconds)
            if stopped := peer.rung(handle, index, values):
                break
        if stopped:
            done.stopped.append(Step(done.seconds, strategy, sum(done.asked)))
            continue
        _pay(done, paid, strategy, record.seconds)
        peer.tell(handle, {n: m.value for n, m in record.measurements.items()})
        if strategy.key not in finished:
            finished.add(strategy.key)
            if add(_step(done, strategy)) >= enough:
                break
    return done


def _whole(judge: Judge, settings: Settings) -> dict[str, Value]:
    """``settings`` with the levers that the study fixes to a value other than the default."""
    fixed = {d.lever: _settings(d)[0] for d in judge.study.space.dimensions}
    return {**fixed, **settings}


def _record(judge: Judge, strategy: Strategy) -> Record:
    record = judge.landscape.find(strategy, judge.study.task.seed)
    if record is None:
        raise LookupError(f"the landscape does not hold {dict(strategy.values)}")
    return record


def _pay(done: Walk, paid: dict[str, float], strategy: Strategy, seconds: float) -> None:
    """Count what running ``strategy`` so far costs beyond what was paid for it before."""
    done.seconds += max(0.0, seconds - paid.get(strategy.key, 0.0))
    paid[strategy.key] = max(seconds, paid.get(strategy.key, 0.0))


def _step(done: Walk, strategy: Strategy) -> Strategy:
    done.steps.append(Step(done.seconds, strategy, sum(done.asked)))
    return strategy


def rungs(record: Record) -> Iterator[tuple[float, Mapping[str, float]]]:
    """(seconds, metrics) of a trial's rungs: the scores there, and its speed and cost."""
    known = {name: m.value for name, m in record.measurements.items()}
    job = Job("", 0, record.strategy, Task(), record.seed, Resources(), Limits(), "")
    for after, what in replay_events(record, job):
        scores = getattr(what, "metrics", {})
        if "accuracy" in scores:
            yield after, {**known, **scores}


# ----------------------------------------------------------------------------------- random search


class RandomSearch:
    """Each strategy drawn evenly from the grid."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._random = space, np.random.default_rng(seed)

    def ask(self) -> tuple[None, Settings]:
        levers = self._space.levers.items()
        return None, {name: v[int(self._random.integers(len(v)))] for name, v in levers}

    def tell(self, handle: None, values: Mapping[str, float]) -> None: ...

    def rung(self, handle: None, index: int, values: Mapping[str, float]) -> bool:
        return False


# ------------------------------------------------------------------------------------------ Optuna


class Optuna:
    """A study of several objectives; numbers are integers over their places, so that neighbours
    are alike."""

    def __init__(self, space: Space, seed: int, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        make = getattr(optuna.samplers, sampler)
        directions = ["maximize" if sign > 0 else "minimize" for sign in space.signs.values()]
        self._space = space
        self._study = optuna.create_study(directions=directions, sampler=make(seed=seed))

    def ask(self) -> tuple[Any, Settings]:
        trial, chosen = self._study.ask(), {}
        for name, values in self._space.levers.items():
            if self._space.is_ordered(name):
                chosen[name] = values[trial.suggest_int(name, 0, len(values) - 1)]
            else:
                chosen[name] = trial.suggest_categorical(name, values)
        return trial, chosen

    def tell(self, handle: Any, values: Mapping[str, float]) -> None:
        self._study.tell(handle, [values[metric] for metric in self._space.signs])

    def rung(self, handle: Any, index: int, values: Mapping[str, float]) -> bool:
        return False  # its pruners take one objective


# --------------------------------------------------------------------------------------- Syne Tune


class MoAsha:
    """Syne Tune's MOASHA. The recorded rungs are a quarter and a half of the way, so time counts in
    quarters and each rung lets half pass. It minimises all metrics, so signs are turned."""

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

    def rung(self, handle: Any, index: int, values: Mapping[str, float]) -> bool:
        answer = self._scheduler.on_trial_result(handle, self._result(self.QUARTERS[index], values))
        return bool(answer == "STOP")

    def tell(self, handle: Any, values: Mapping[str, float]) -> None:
        self._scheduler.on_trial_complete(handle, self._result(4, values))

    def _result(self, quarter: int, values: Mapping[str, float]) -> dict[str, float]:
        losses = {metric: -sign * values[metric] for metric, sign in self._space.signs.items()}
        return {"quarter": quarter, **losses}


# ---------------------------------------------------------------------------------------------- Ax


class Ax:
    """Ax's client with the generation strategy that it chooses itself: Sobol, then a Gaussian
    process and expected hypervolume gain."""

    def __init__(self, space: Space, seed: int) -> None:
        import logging
        import warnings

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
        wanted = (f"{'' if sign > 0 else '-'}{metric}" for metric, sign in space.signs.items())
        self._client.configure_optimization(objective=", ".join(wanted))

    def ask(self) -> tuple[Any, Settings]:
        [(index, settings)] = self._client.get_next_trials(max_trials=1).items()
        return index, settings

    def tell(self, handle: Any, values: Mapping[str, float]) -> None:
        told = {metric: values[metric] for metric in self._space.signs}
        self._client.complete_trial(trial_index=handle, raw_data=told)

    def rung(self, handle: Any, index: int, values: Mapping[str, float]) -> bool:
        return False


PEERS: Mapping[str, Callable[[Space, int], Peer]] = {
    "random": RandomSearch,
    "Optuna TPE": lambda space, seed: Optuna(space, seed, "TPESampler"),
    "Optuna NSGA-II": lambda space, seed: Optuna(space, seed, "NSGAIISampler"),
    "Syne Tune MO-ASHA": MoAsha,
    "Ax": Ax,
}
