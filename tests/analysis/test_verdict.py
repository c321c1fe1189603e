"""Verdicts in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from small_studies import ACCURACY, SPEED, study, trial, trials

from autotune.analysis.recommendation import Recommender
from autotune.analysis.recommendation_text import describe_trial
from autotune.analysis.records import pareto_record, trial_records
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.verdict import dominating_rows, learning_failure
from autotune.domain import (
    Constraint,
    FailureReason,
    Infeasible,
    Measurement,
    State,
    Trial,
    TrialOrigin,
    TrialResult,
)

STUDY = study(constraints=[Constraint(ACCURACY, ">=", 0.5)])


def with_scores(original: Trial, *scores: Measurement) -> Trial:
    measurements = {**original.result.measurements, **{score.name: score for score in scores}}
    return replace(original, result=TrialResult(measurements))


def mcc(value: float, low: float, high: float) -> Measurement:
    return Measurement("mcc", value, "ratio", 100, (low, high))


def pearson(value: float, low: float, high: float) -> Measurement:
    return Measurement("pearson", value, "correlation", 100, (low, high))


def test_verdicts_in_words() -> None:
    infeasible = Infeasible(FailureReason.OUT_OF_MEMORY, "too large")
    members = [
        *trials((10, 0.8), (20, 0.7), (15, 0.6), (50, 0.4)),
        trial(4, {SPEED: 9.0}, values={"batch_size": 40, "precision": "bf16"}),
        trial(6, state=State.PRUNED, reason="slow"),
        trial(7).finish(infeasible, datetime.now(UTC)),
        trial(8, state=State.RUNNING),
    ]
    members.append(replace(members[1], number=9, origin=TrialOrigin.CONFIRMATION, seed=1))
    assert list(Snapshot(STUDY, members).verdict_texts.values()) == [
        "on the front",
        "on the front",
        "dominated by trial 1",
        "outside accuracy >= 0.5",
        "objective not measured",
        "stopped early",
        "infeasible (out of memory)",
        "running",
        "confirms trial 1",
    ]


def test_trials_of_other_studies_and_repeated_trials() -> None:
    first, second = trials((10, 0.8), (20, 0.7))
    imported = replace(second, origin=TrialOrigin.IMPORTED)
    again = replace(first, number=2, origin=TrialOrigin.ISOLATED_RERUN)
    other = trial(3, {SPEED: 30.0, ACCURACY: 0.9}, origin=TrialOrigin.TRANSFERRED)
    texts = Snapshot(replace(STUDY, warm_start="bert"), [first, imported, again, other])
    assert list(texts.verdict_texts.values()) == [
        "replaced by trial 2",
        "on the front, from study bert",
        "on the front",
        "from another host, from study bert",
    ]


@pytest.mark.parametrize(
    ("scores", "note"),
    [
        ([mcc(0.0, 0.0, 0.0)], "majority class (MCC 0)"),
        ([mcc(0.03, -0.02, 0.08)], "no better than chance (MCC 0.030)"),
        ([mcc(0.5, 0.4, 0.6)], None),
        ([Measurement("f1", 0.0, "ratio")], "no entity"),
        ([Measurement("f1", 0.0, "ratio"), mcc(-0.5, -0.6, -0.4)], None),
        ([pearson(0.0, 0.0, 0.0)], "constant predictions (Pearson correlation 0)"),
        ([pearson(0.1, -0.1, 0.3)], "no better than chance (Pearson correlation 0.100)"),
        (
            [Measurement("f1", 0.0, "ratio"), Measurement("exact_match", 0.0, "ratio")],
            "no answer has a correct word",
        ),
        (
            [
                Measurement(n, v, "ratio")
                for n, v in (("f1", 0.2), ("exact_match", 0.2), ("has_answer_f1", 0.0))
            ],
            "no answer has a correct word",
        ),
        (
            [Measurement("f1", 0.0, "ratio"), Measurement("f1_micro", 0.0, "ratio")],
            "no correct label",
        ),
        ([], None),
    ],
)
def test_a_model_that_learned_nothing(scores: list[Measurement], note: str | None) -> None:
    assert learning_failure(with_scores(trial(0), *scores)) == note


def test_json_has_the_verdict_on_every_trial() -> None:
    default, fast = trials((10, 0.8), (20, 0.509))
    snapshot = Snapshot(STUDY, [default, with_scores(fast, mcc(0.0, 0.0, 0.0))])
    verdict = "on the front, majority class (MCC 0)"
    records = trial_records(snapshot, snapshot.trials)
    assert [record["verdict"] for record in records] == ["on the front", verdict]
    assert pareto_record(STUDY, snapshot.trials)["front"][0]["verdict"] == verdict


def test_a_recommendation_says_so() -> None:
    default, fast = trials((10, 0.8), (20, 0.79))
    constant = with_scores(fast, mcc(0.0, 0.0, 0.0))
    text = describe_trial(Recommender(STUDY, [default, constant]), constant)
    assert "the model learned nothing: majority class (MCC 0)" in text


def test_the_first_dominating_row_is_named() -> None:
    points = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 1.0], [2.0, 2.0], [2.0, 1.0]])
    assert dominating_rows(points, [0, 1, 3]) == [None, None, 0, None, 0]
