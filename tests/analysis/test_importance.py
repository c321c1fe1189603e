"""Importance, effects and interactions of levers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_studies import ACCURACY, SPEED, study, trial

from autotune.analysis.importance import (
    interaction,
    lever_importance,
    setting_effects,
    setting_labels,
    varied_levers,
)
from autotune.analysis.text import format_value
from autotune.domain import Categorical, Dimension, Range, SearchSpace, Study, Trial, TrialOrigin

SPACE = SearchSpace(
    (
        Dimension("precision", Categorical(("fp32", "bf16"))),
        Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
        Dimension("compile", Categorical((False, True))),
        Dimension("micro_batch_size", Categorical(("full", 4)), when="precision == bf16"),
        Dimension("threads", Categorical((2,))),
    ),
    {"precision": "fp32", "learning_rate": 5e-5, "compile": False, "micro_batch_size": "full",
     "threads": 2},
)  # fmt: skip
STUDY: Study = replace(study(), space=SPACE)


@pytest.fixture(scope="module")
def members() -> list[Trial]:
    """Speed depends on precision only, accuracy on the learning rate only."""
    rng = np.random.default_rng(1)
    trials = []
    for number in range(120):
        precision = ["fp32", "bf16"][number % 2]
        rate = float(10 ** rng.uniform(-5, -3))
        values = {
            "precision": precision,
            "learning_rate": rate,
            "compile": bool(rng.integers(2)),
            "micro_batch_size": 4 if precision == "bf16" and rng.integers(2) else "full",
            "threads": 2,
        }
        speed = (200.0 if precision == "bf16" else 100.0) + rng.normal()
        metrics = {SPEED: speed, ACCURACY: 0.8 - 0.1 * abs(np.log10(rate) + 4)}
        trials.append(trial(number, metrics, values=values, origin=TrialOrigin.SAMPLED))
    return trials


def test_importance_finds_the_lever_that_matters(members: list[Trial]) -> None:
    speed, accuracy = (
        lever_importance(STUDY, members, SPEED),
        lever_importance(STUDY, members, ACCURACY),
    )
    assert sum(speed.values()) == pytest.approx(1.0)
    assert max(speed, key=lambda name: speed[name]) == "precision"
    assert max(accuracy, key=lambda name: accuracy[name]) == "learning_rate"
    assert "threads" not in speed


def test_importance_needs_trials(members: list[Trial]) -> None:
    assert lever_importance(STUDY, members[:9], SPEED) == {}
    assert lever_importance(STUDY, [members[0]] * 20, SPEED) == {}
    assert lever_importance(STUDY, members, "energy_wh") == {}
    assert lever_importance(STUDY, members, SPEED) == lever_importance(STUDY, members, SPEED)


def test_intervals_of_effects_contain_the_true_mean(members: list[Trial]) -> None:
    slow, fast = setting_effects(STUDY, members, "precision", SPEED)
    assert (slow.setting, fast.setting, slow.n) == ("fp32", "bf16", 60)
    assert slow.ci95 is not None and slow.ci95[0] < 100 < slow.ci95[1]
    assert fast.ci95 is not None and fast.ci95[0] < 200 < fast.ci95[1]
    assert setting_effects(STUDY, members, "precision", SPEED)[0] == slow


def test_one_trial_has_no_interval(members: list[Trial]) -> None:
    (only,) = setting_effects(STUDY, members[:1], "precision", SPEED)
    assert only.ci95 is None and only.n == 1


def test_continuous_levers_are_binned(members: list[Trial]) -> None:
    labels = setting_labels(STUDY, members, "learning_rate")
    assert len(labels.order) == 5
    assert {labels.label_of(t) for t in members} == set(labels.order)
    middle = max(setting_effects(STUDY, members, "learning_rate", ACCURACY), key=lambda e: e.mean)
    assert middle.setting == labels.order[2]


def test_interaction_counts_tried_pairs(members: list[Trial]) -> None:
    cells = interaction(STUDY, members, "precision", "micro_batch_size", SPEED)
    assert {(c.first, c.second) for c in cells} == {
        ("fp32", "full"), ("bf16", "full"), ("bf16", "4"),
    }  # fmt: skip
    assert sum(c.n for c in cells) == len(members)


def test_varied_levers_and_format_value(members: list[Trial]) -> None:
    assert varied_levers(STUDY, members) == [
        "precision",
        "learning_rate",
        "compile",
        "micro_batch_size",
    ]
    assert [format_value(v) for v in (True, 0.00012, 8, "full")] == ["yes", "0.00012", "8", "full"]
