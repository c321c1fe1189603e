"""The path from the default to a strategy, one lever at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from small_studies import ACCURACY, SPEED, study, trial

from autotune.analysis.attribution import (
    attribute,
    path_record,
    path_sentence,
    path_table,
)
from autotune.analysis.comparison_text import (
    describe_contribution,
    describe_factor,
    format_factor,
)
from autotune.analysis.metric_posterior import Comparison
from autotune.analysis.posterior import Posterior
from autotune.domain import Categorical, Dimension, Range, SearchSpace, State, Study, Trial, Value

FACTORS = {"padding": 1.7, "precision": 1.4, "compile": 0.9}
SPACE = SearchSpace(
    (
        Dimension("padding", Categorical(("dynamic", "bucketed"))),
        Dimension("precision", Categorical(("fp32", "bf16"))),
        Dimension("compile", Categorical((False, True))),
        Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
    ),
    {"padding": "dynamic", "precision": "fp32", "compile": False, "learning_rate": 1e-4},
)
STUDY: Study = replace(study(), space=SPACE)


def run(number: int, rng: np.random.Generator, **values: Value) -> Trial:
    """Speed is a product of the factors, accuracy depends on the learning rate; with 2% noise."""
    strategy = {**SPACE.defaults, **values}
    changed = [lever for lever in FACTORS if strategy[lever] != SPACE.defaults[lever]]
    speed = 100 * math.prod(FACTORS[lever] for lever in changed) * rng.normal(1, 0.02)
    rate = float(strategy["learning_rate"])
    accuracy = 0.8 - 0.1 * abs(math.log10(rate) + 3) + rng.normal(0, 0.004)
    return trial(number, {SPEED: speed, ACCURACY: accuracy}, values=strategy)


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    rng = np.random.default_rng(3)
    others = [
        run(
            number,
            rng,
            padding=str(rng.choice(["dynamic", "bucketed"])),
            precision=str(rng.choice(["fp32", "bf16"])),
            compile=bool(rng.integers(2)),
            learning_rate=float(10 ** rng.uniform(-5, -3)),
        )
        for number in range(1, 40)
    ]
    best: dict[str, Value] = {"padding": "bucketed", "precision": "bf16", "learning_rate": 1e-3}
    return [run(0, rng), *others, run(40, rng, **best)]


def test_factors_multiply_to_the_total_and_differences_add_up(trials: list[Trial]) -> None:
    path = attribute(STUDY, trials, trials[-1])
    assert path is not None
    speeds, scores = (
        [s.contributions[m].value for s in path.steps if m in s.contributions]
        for m in (SPEED, ACCURACY)
    )
    assert math.prod(speeds) == pytest.approx(path.totals[SPEED].value)
    assert sum(scores) == pytest.approx(path.totals[ACCURACY].value)
    assert path.totals == {
        m: Posterior(STUDY, trials).compare(trials[-1], m) for m in (SPEED, ACCURACY)
    }
    assert path.totals[SPEED].value == pytest.approx(1.7 * 1.4, rel=0.05)
    assert path.totals[ACCURACY].value == pytest.approx(0.1, abs=0.02)


def test_the_path_has_the_factor_of_each_lever_largest_first(trials: list[Trial]) -> None:
    path = attribute(STUDY, trials, trials[-1])
    assert path is not None
    levers = [next(iter(step.settings)) for step in path.steps]
    assert levers == ["padding", "precision", "learning_rate"]
    for lever, step in zip(levers[:2], path.steps, strict=False):
        low, high = step.contributions[SPEED].ci95
        assert low < FACTORS[lever] < high < 1.2 * low
    assert SPEED not in path.steps[2].contributions  # the learning rate cannot change it
    low, high = path.steps[2].contributions[ACCURACY].ci95
    assert low < 0.1 < high


def test_levers_that_always_change_together_share_a_step(trials: list[Trial]) -> None:
    together = [
        replace(t, strategy=t.strategy.with_values(compile=t.strategy["padding"] == "bucketed"))
        for t in trials
    ]
    path = attribute(STUDY, together, together[-1])
    assert path is not None
    assert {frozenset(step.settings) for step in path.steps} == {
        frozenset({"padding", "compile"}), frozenset({"precision"}), frozenset({"learning_rate"}),
    }  # fmt: skip
    joint = next(step for step in path.steps if len(step.settings) == 2)
    assert joint.contributions[SPEED].value == pytest.approx(1.7, rel=0.06)
    assert str(joint) == "padding bucketed, compile yes"


def test_there_is_no_path_without_a_change_or_trials(trials: list[Trial]) -> None:
    assert attribute(STUDY, trials, trials[0]) is None
    assert attribute(STUDY, [trials[0], trials[-1]], trials[-1]) is None


def test_reused_measurements_do_not_narrow_an_interval(trials: list[Trial]) -> None:
    """Trials that differ in the learning rate only share the measurement of their speed."""
    few = [trials[0], *trials[30:]]
    copies = []
    for number, source in enumerate(few, start=100):
        reused = {
            name: replace(measurement, source=source.number)
            for name, measurement in source.result.measurements.items()
        }
        strategy = source.strategy.with_values(learning_rate=1e-7 * number)
        result = replace(source.result, measurements=reused)
        copies.append(replace(source, number=number, strategy=strategy, result=result))
    alone, copied = (attribute(STUDY, group, trials[-1]) for group in (few, few + copies))
    assert alone is not None and copied is not None
    assert copied.trials == alone.trials
    for one, other in zip(alone.steps, copied.steps, strict=True):
        assert one.contributions == other.contributions


def test_the_speed_of_stopped_trials_counts(trials: list[Trial]) -> None:
    stopped = [t if t.number in (0, 40) else replace(t, state=State.PRUNED) for t in trials]
    path = attribute(STUDY, stopped, stopped[-1])
    assert path is not None and path.trials == {SPEED: len(trials)}
    assert ACCURACY not in path.totals


def test_the_smallest_steps_are_joined() -> None:
    names = [f"lever_{n}" for n in range(12)]
    space = SearchSpace(
        tuple(Dimension(name, Categorical((0, 1))) for name in names), dict.fromkeys(names, 0)
    )
    rng = np.random.default_rng(0)
    rows = [dict.fromkeys(names, 0), *(dict(zip(names, r.tolist(), strict=True))
            for r in rng.integers(0, 2, (60, 12))), dict.fromkeys(names, 1)]  # fmt: skip
    members = [
        trial(n, {SPEED: 100 * (1 + row["lever_3"]) * rng.normal(1, 0.01)}, values=row)
        for n, row in enumerate(rows)
    ]
    path = attribute(replace(study(SPEED), space=space), members, members[-1])
    assert path is not None and len(path.steps) == 8
    assert dict(path.steps[0].settings) == {"lever_3": 1}
    assert str(path.steps[-1]) == "5 other levers"
    assert path_sentence(path).startswith("lever_3 1 2.0x (1.")
    assert " and 11 other levers, together 1.98x (" in path_sentence(path)


def test_a_path_in_one_sentence(trials: list[Trial]) -> None:
    path = attribute(STUDY, trials, trials[-1])
    assert path is not None
    speed, _, accuracy = path_sentence(path).partition("; ")
    assert speed.startswith("padding bucketed 1.") and ", precision bf16 1." in speed
    assert accuracy == f"accuracy {describe_factor(path.totals[ACCURACY])}"


def test_contributions_as_text() -> None:
    factor = Comparison(SPEED, 1.7, (1.5, 1.9), True)
    assert describe_contribution(factor) == "1.70x (1.50x to 1.90x)"
    difference = Comparison(ACCURACY, -0.003, (-0.008, 0.002), False)
    assert describe_contribution(difference) == "-0.3 points (-0.8 to +0.2)"
    assert describe_factor(factor) == describe_contribution(factor)
    assert describe_factor(difference) == "no clear difference (-0.8 to +0.2)"
    assert format_factor(Comparison("loss", 0.0123, (0.0, 0.1), False)) == "+0.0123"


def test_a_path_as_table_and_record(trials: list[Trial]) -> None:
    path = attribute(STUDY, trials, trials[-1])
    assert path is not None
    head, rows = path_table(path)
    assert head == ["lever", "training speed", "accuracy"]
    assert [row[0] for row in rows][-2:] == ["learning_rate 0.001", "together"]
    assert rows[-2][1] == "" and rows[-1][1] == describe_contribution(path.totals[SPEED])
    record = path_record(path)
    assert record is not None and record["trials"] == {SPEED: 41, ACCURACY: 41}
    assert record["steps"][0]["settings"] == {"padding": "bucketed"}
    assert set(record["total"][SPEED]) == {"factor", "ci95"}
    assert set(record["total"][ACCURACY]) == {"difference", "ci95"}
    assert path_record(None) is None
