"""The interval of each figure, or why it has none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_studies import ACCURACY, COST, SPEED, study, trial

from autotune.analysis.intervals import figure_interval
from autotune.analysis.observations import shared_score_variance
from autotune.analysis.records import pareto_record, show_record, trial_records
from autotune.analysis.snapshot import Snapshot
from autotune.domain import CurvePoint, Measurement, State, Trial, TrialOrigin, TrialResult
from autotune.domain.metrics import METRICS
from autotune.measure.correctness import pack_correctness

INFERENCE, LATENCY = "inference_samples_per_second", "latency_p50_ms"


def measured(*measurements: Measurement) -> Trial:
    return replace(trial(0), result=TrialResult({m.name: m for m in measurements}))


def test_an_impossible_interval_is_read_on_the_scale_of_the_logarithm() -> None:
    run = measured(Measurement(INFERENCE, 202.0, "samples/s", 5, (-95.6, 499.6)))
    ends = figure_interval(run, INFERENCE).ci95
    assert ends is not None and 0 < ends[0] < 202 < ends[1]


@pytest.mark.parametrize("ci95", [(-95.6, 499.6), None])
def test_two_windows_give_no_interval(ci95: tuple[float, float] | None) -> None:
    interval = figure_interval(measured(Measurement(SPEED, 202.0, "x", 2, ci95)), SPEED)
    assert interval.ci95 is None and interval.reason == "2 timing windows, fewer than 3"


def test_cost_follows_from_the_speed() -> None:
    speed = Measurement(SPEED, 10.0, "samples/s", 5, (8.0, 12.5))
    cost, time = Measurement(COST, 1.0, "USD"), Measurement("train_seconds", 100.0, "s")
    setup = Measurement("setup_seconds", 20.0, "s")
    ends = figure_interval(measured(speed, cost, time, setup), COST).ci95
    assert ends == pytest.approx((1 - 0.8 * 0.2, 1 + 0.8 * 0.25)), "setup does not vary with speed"
    alone = figure_interval(measured(cost), COST)
    assert alone.ci95 is None and alone.reason and "no training speed" in alone.reason


NO_ESTIMATES = frozenset(
    {"number", "seed", "strategy", "settings", "source", "sources", "confirming", "confirms",
     "trial", "trials", "knee", "closest", "probability", "constraint_probability", "n", "runs",
     "examples", "seeds", "pairs"}
)  # fmt: skip
"""Numbers and settings of trials, counts, and probabilities, which say themselves how sure they
are."""


def unexplained(document: object, path: str = "") -> list[str]:
    """The paths of the numbers that have neither an interval nor a reason why they have none. The
    reasons of a document are by its keys."""
    if isinstance(document, list | tuple):
        return [p for n, entry in enumerate(document) for p in unexplained(entry, f"{path}[{n}]")]
    if not isinstance(document, dict):
        is_number = isinstance(document, int | float) and not isinstance(document, bool)
        return [path] if is_number else []
    explained, reason = set(NO_ESTIMATES), document.get("why_no_interval")
    if isinstance(reason, dict):
        explained |= {key for key, text in reason.items() if text}
    if (ends := document.get("ci95")) is not None:
        assert len(ends) == 2 and ends[0] <= ends[1], path
    if ends is not None or isinstance(reason, str):
        explained |= {"ci95", "value", "ratio", "factor", "difference"}
    return [
        p
        for key, entry in document.items()
        if key not in explained
        for p in unexplained(entry, f"{path}.{key}")
    ]


def deployed(number: int, speed: float, hits: int, **fields: Any) -> Trial:
    """A trial with the three phases; what it trained, it deployed too."""
    values = {
        SPEED: (speed, (speed * 0.97, speed * 1.03)), ACCURACY: (hits / 100, None),
        "mcc": (0.5, (0.4, 0.6)), COST: (10 / speed, None), "train_seconds": (900 / speed, None),
        "setup_seconds": (1.0, None), "peak_memory_gib": (1.0, None), "energy_wh": (1.0, None),
        "model_size_mib": (17.0, None), "reference_seconds": (0.1, (0.09, 0.11)),
        LATENCY: (5 + 100 / speed, (4.0, 9.0)), "deployed_accuracy": (hits / 100, None),
        "size_mb": (9.0, None), "load_seconds": (0.3, None),
    }  # fmt: skip
    measurements = {
        name: Measurement(name, value, METRICS[name].unit, 8, ci95)
        for name, (value, ci95) in values.items()
    }
    curve = (CurvePoint(5, 10, 40, 1.0, 0.7, {ACCURACY: 0.5}),)
    environment = {"predicted": {SPEED: speed, "seconds": 9.0, "intervals": {SPEED: [1.0, 2.0]}}}
    correctness = pack_correctness("test", np.arange(100) < hits)
    result = TrialResult(
        measurements, curve, ((0.0, 0.5),), (), environment, correctness=correctness
    )
    return replace(trial(number, **fields), result=result)


def trials_of_every_kind() -> list[Trial]:
    settings = [
        {"batch_size": size, "precision": precision}
        for size in (8, 16, 32)
        for precision in ("fp32", "bf16")
    ]
    members = [deployed(n, 100 + 40 * n, 80 + n % 3, values=v) for n, v in enumerate(settings)]
    best, paused = members[3], replace(members[4], state=State.PRUNED, reason="paused at step 5")
    members[4] = paused
    reused = {name: replace(m, source=3) for name, m in best.result.measurements.items()}
    again = {"values": dict(best.strategy.values)}
    replicate, continued = TrialOrigin.REPLICATE, TrialOrigin.CONTINUED
    members += [
        deployed(6, 265, 82, values=dict(paused.strategy.values), origin=continued),
        deployed(7, 222, 81, origin=replicate, seed=101, **again),
        replace(deployed(8, 220, 81, origin=TrialOrigin.IMPORTED, **again),
                result=TrialResult(reused)),
        deployed(9, 150, 70, origin=TrialOrigin.TRANSFERRED),
    ]  # fmt: skip
    for state in (State.INFEASIBLE, State.FAILED, State.INTERRUPTED, State.RUNNING, State.QUEUED):
        members.append(trial(len(members), state=state, reason="a reason"))
    for seed in (2, 3):
        for source in (members[0], best):
            speed = (source.metric(SPEED) or 0.0) * (1 + 0.01 * seed)
            values = dict(source.strategy.values)
            members.append(deployed(len(members), speed, 79 + seed, values=values, seed=seed,
                                    origin=TrialOrigin.CONFIRMATION))  # fmt: skip
    return members


def test_every_figure_of_the_records_has_an_interval_or_a_reason() -> None:
    members = trials_of_every_kind()
    snapshot = Snapshot(study(SPEED, ACCURACY, LATENCY), members)
    shown = [show_record(snapshot, member) for member in members]
    documents = [trial_records(snapshot, members), pareto_record(snapshot.study, members), shown]
    assert {member.state for member in members} == set(State)
    for document in documents:
        assert not unexplained(json.loads(json.dumps(document, allow_nan=False)))
    assert shown[3]["path"] is not None and set(shown[3]["paired"]) == {SPEED, ACCURACY, LATENCY}
    assert shown[7]["verdict"].startswith("replicate of trial 3")


def test_a_figure_without_an_interval_or_a_reason_is_noticed() -> None:
    bare = {"metrics": {SPEED: {"value": 1.0, "n": 5}, COST: {"value": 1.0, "ci95": None}}}
    assert unexplained(bare) == [f".metrics.{SPEED}.value", f".metrics.{COST}.value"]
    assert unexplained({"hypervolume": 1.2, "front": [{"number": 3}]}) == [".hypervolume"]


def test_hits_on_test_examples_are_not_compared_with_those_on_validation() -> None:
    """Splits in an order by label have equal labels, and thus one digest."""

    def with_hits(hits: np.ndarray, member: Trial) -> Trial:
        correctness = pack_correctness("one digest", hits)
        return replace(member, result=replace(member.result, correctness=correctness))

    order = np.arange(100)
    sizes = ({"batch_size": 8}, {"batch_size": 16})
    validation = [deployed(n, 100, 80, values=size) for n, size in enumerate(sizes)]
    runs = [with_hits(order < 60 + 20 * n, member) for n, member in enumerate(validation)]
    expected = shared_score_variance(runs)
    confirmations = [replace(member, origin=TrialOrigin.CONFIRMATION) for member in validation]
    runs += [with_hits(order >= 40 - 20 * n, member) for n, member in enumerate(confirmations)]
    assert shared_score_variance(runs) == pytest.approx(expected)
