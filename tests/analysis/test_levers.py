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
ASKED: Study = replace(study(), space=SPACE)


@pytest.fixture(scope="module")
def found() -> list[Trial]:
    """Speed is set by precision alone, accuracy by the learning rate alone."""
    rng = np.random.default_rng(1)
    made = []
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
        made.append(trial(number, metrics, values=values, origin=TrialOrigin.SAMPLED))
    return made


def test_importance_finds_the_lever_that_matters(found: list[Trial]) -> None:
    speed, accuracy = (
        lever_importance(ASKED, found, SPEED),
        lever_importance(ASKED, found, ACCURACY),
    )
    assert sum(speed.values()) == pytest.approx(1.0)
    assert max(speed, key=lambda name: speed[name]) == "precision"
    assert max(accuracy, key=lambda name: accuracy[name]) == "learning_rate"
    assert "threads" not in speed


def test_importance_needs_trials(found: list[Trial]) -> None:
    assert lever_importance(ASKED, found[:9], SPEED) == {}
    assert lever_importance(ASKED, [found[0]] * 20, SPEED) == {}
    assert lever_importance(ASKED, found, "energy_wh") == {}
    assert lever_importance(ASKED, found, SPEED) == lever_importance(ASKED, found, SPEED)


def test_effects_hold_the_truth_within_their_interval(found: list[Trial]) -> None:
    slow, fast = setting_effects(ASKED, found, "precision", SPEED)
    assert (slow.setting, fast.setting, slow.n) == ("fp32", "bf16", 60)
    assert slow.ci95 is not None and slow.ci95[0] < 100 < slow.ci95[1]
    assert fast.ci95 is not None and fast.ci95[0] < 200 < fast.ci95[1]
    assert setting_effects(ASKED, found, "precision", SPEED)[0] == slow


def test_one_trial_has_no_interval(found: list[Trial]) -> None:
    (only,) = setting_effects(ASKED, found[:1], "precision", SPEED)
    assert only.ci95 is None and only.n == 1


def test_continuous_levers_fall_into_ranges(found: list[Trial]) -> None:
    label = setting_labels(ASKED, found, "learning_rate")
    assert len(label.order) == 5
    assert {label.label_of(t) for t in found} == set(label.order)
    middle = max(setting_effects(ASKED, found, "learning_rate", ACCURACY), key=lambda e: e.mean)
    assert middle.setting == label.order[2]


def test_interaction_counts_what_was_tried(found: list[Trial]) -> None:
    cells = interaction(ASKED, found, "precision", "micro_batch_size", SPEED)
    assert {(c.first, c.second) for c in cells} == {
        ("fp32", "full"), ("bf16", "full"), ("bf16", "4"),
    }  # fmt: skip
    assert sum(c.n for c in cells) == len(found)


def test_varied_levers_and_words(found: list[Trial]) -> None:
    assert varied_levers(ASKED, found) == [
        "precision",
        "learning_rate",
        "compile",
        "micro_batch_size",
    ]
    assert [format_value(v) for v in (True, 0.00012, 8, "full")] == ["yes", "0.00012", "8", "full"]
