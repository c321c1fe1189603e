"""Registries of records, references to implementations, and suggestions for misspelt names."""

from __future__ import annotations

import math

import pytest

from autotune.domain import Phase
from autotune.domain.metrics import METRICS, Metric, MetricKind, get_metric, select_metrics
from autotune.domain.registry import Registry, import_object
from autotune.domain.tasks import TASK_KINDS, TaskKind, has_metric
from autotune.domain.text import closest, suggest
from autotune.errors import NotFoundError, UsageError


@pytest.fixture
def kinds() -> Registry[TaskKind]:
    return Registry("task kind", [TaskKind("b", "", "m:B"), TaskKind("a", "", "m:A")])


def test_records_are_in_order_of_registration(kinds: Registry[TaskKind]) -> None:
    kinds.register(TaskKind("zero-shot", "", "m:C"))
    assert list(kinds) == ["b", "a", "zero-shot"]
    assert kinds.find("a").implementation == "m:A"


def test_an_equal_record_can_be_registered_again(kinds: Registry[TaskKind]) -> None:
    kinds.register(TaskKind("a", "", "m:A"))
    with pytest.raises(UsageError, match="the task kind 'a' is already registered"):
        kinds.register(TaskKind("a", "", "m:Other"))
    assert kinds["a"].implementation == "m:A"


@pytest.mark.parametrize("name", ["", "Upper", "two words", "1st", "dotted.name"])
def test_names_are_checked(kinds: Registry[TaskKind], name: str) -> None:
    with pytest.raises(UsageError, match="is not valid"):
        kinds.register(TaskKind(name, "", "m:A"))


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(NotFoundError, match="unknown task kind 'text-clasification'") as caught:
        TASK_KINDS.find("text-clasification")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean text-classification? valid: ")


def test_references_are_imported_on_use() -> None:
    assert import_object("math:sqrt") is math.sqrt
    assert import_object(math.sqrt) is math.sqrt


def test_suggestions() -> None:
    assert closest("precison", ["device", "precision"]) == "precision"
    assert closest("xyz", ["device"]) is None
    assert suggest("xyz", ["device", "nodes"]) == "valid: device, nodes"


def test_scores_belong_to_task_kinds() -> None:
    assert has_metric("text-classification", "mcc")
    assert not has_metric("token-classification", "mcc")
    assert has_metric("token-classification", "cost_usd")
    assert has_metric("regression", "rmse") and not has_metric("regression", "accuracy")
    kinds = (MetricKind.SHARE, MetricKind.CORRELATION, MetricKind.LOSS)
    assert all(METRICS[score].kind in kinds
               for kind in TASK_KINDS.values() for score in kind.scores)  # fmt: skip


def test_selections_are_in_order_of_rank() -> None:
    fastest = select_metrics(lambda metric: metric.pick == "fastest")
    assert fastest == (
        "train_samples_per_second", "relative_speed", "deployed_relative_speed", "train_seconds",
        "inference_samples_per_second", "deployed_samples_per_second", "inference_latency_ms",
        "latency_p50_ms", "latency_p95_ms", "latency_p99_ms",
    )  # fmt: skip
    assert select_metrics(lambda metric: metric.pick == "cheapest") == (
        "cost_usd", "inference_usd_per_million", "deployed_usd_per_million", "energy_wh",
    )  # fmt: skip
    assert select_metrics(lambda metric: metric.in_summary) == (
        "train_samples_per_second", "accuracy", "exact_match", "cost_usd",
    )  # fmt: skip


def test_a_metric_that_is_not_registered_has_a_label() -> None:
    unknown = get_metric("mean_recall")
    assert (unknown.label, unknown.unit, unknown.phase) == ("mean_recall", "", Phase.TRAIN)
    assert get_metric("accuracy") is METRICS["accuracy"]
    assert isinstance(unknown, Metric)
