"""Levers, metrics, losses and kinds of tasks that are given to a search as objects."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from autotune.api import components
from autotune.api.components import WithComponents, register, send_components
from autotune.domain import Categorical, Phase
from autotune.domain.losses import LOSSES, LossFunction
from autotune.domain.metrics import METRICS, Metric, MetricKind
from autotune.domain.tasks import TASK_KINDS, TaskKind
from autotune.errors import UsageError
from autotune.levers import ACCURACY, LEVERS, Lever, Stage
from autotune.levers.effects import load_effect
from autotune.ports import Executor

ROOT = Path(__file__).parents[2]


def make_metric(score: Any) -> Metric:
    return Metric(
        "share_of_ones", "share of ones", "ratio", "maximize", Phase.TRAIN, "Of a test", 4,
        kind=MetricKind.SHARE, score=score,
    )  # fmt: skip


def make_lever(effect: Any) -> Lever:
    return Lever(
        "strength", "A lever of a test", Categorical(("low", "high")), "low",
        frozenset({ACCURACY}), effect=effect, stage=Stage.FREEZE,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    before = [(registry, set(registry)) for registry in (LEVERS, METRICS, LOSSES, TASK_KINDS)]
    yield
    for registry, names in before:
        for name in set(registry) - names:
            registry.unregister(name)
    components._objects.clear()


def test_all_kinds_are_registered_and_replaced() -> None:
    def first(*_: Any) -> float:
        return 1.0

    def second(*_: Any) -> float:
        return 2.0

    for function in (first, second):  # the cell of a notebook is run twice
        kind = TaskKind("my-kind", "Of a test", function)
        loss = LossFunction("my_loss", function)
        register([make_lever(function), make_metric(function), loss, kind])
        assert load_effect(LEVERS["strength"]) is function
        assert METRICS["share_of_ones"].score is function
        assert METRICS["deployed_share_of_ones"].base == "share_of_ones"
        assert LOSSES["my_loss"].function is TASK_KINDS["my-kind"].implementation is function


def test_what_is_built_in_is_not_replaced() -> None:
    with pytest.raises(UsageError, match="already registered"):
        register([LossFunction("my_loss", len), TaskKind("regression", "Another", len)])
    with pytest.raises(UsageError, match="is no component"):
        register(["accuracy"])  # type: ignore[list-item]


def score_twice(call: WithComponents[..., float]) -> float:
    """What a worker does in two calls."""
    return call([0, 1]) + call([1, 1])


def score(predictions: list[int]) -> float:
    return float(METRICS["share_of_ones"].score(None, predictions, ()))  # type: ignore[misc, operator]


class CallExecutor:
    """Calls functions in another process, which gets them by pickle."""

    def call(self, function: Any, *args: Any) -> Any:
        code = (
            "import pickle, sys; from tests.api.test_components import score_twice; "
            "print(score_twice(pickle.load(sys.stdin.buffer)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps(function), cwd=ROOT,
            capture_output=True, check=True,
        )  # fmt: skip
        return float(done.stdout)


def test_functions_of_a_notebook_reach_workers() -> None:
    def share(labels: Any, predictions: list[int], names: Any) -> float:
        return sum(predictions) / len(predictions)

    executor: Any = CallExecutor()
    assert send_components(executor, []) is executor
    sending = send_components(executor, [make_metric(share)])
    assert sending.call(score, []) == 1.5


def test_what_cannot_be_sent_is_said() -> None:
    lock, executor = threading.Lock(), cast(Executor, CallExecutor())
    with pytest.raises(UsageError, match="cannot be sent"):
        send_components(executor, [LossFunction("my_loss", lambda *_: lock)])
