"""Texts name the baseline as what it is: the default of the Trainer, or the user's own recipe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console
from small_studies import study, trials

from autotune.analysis.plan import describe_default
from autotune.analysis.recommendation import Recommender
from autotune.analysis.recommendation_text import describe_trial
from autotune.analysis.snapshot import Snapshot
from autotune.cli.front import front_listing
from autotune.domain import Budget

TRIALS = trials((10, 0.8), (20, 0.7))


def test_a_sentence_says_that_few_samples_were_chosen() -> None:
    auto = replace(study(), spec={"task": {"train_samples": "auto"}})
    auto = replace(auto, task=replace(auto.task, train_samples=400))
    assert "on 400 samples" in describe_trial(Recommender(auto, TRIALS), TRIALS[1])
    assert "samples" not in describe_trial(Recommender(study(), TRIALS), TRIALS[1])


@pytest.mark.parametrize("is_own", [True, False])
def test_texts_name_the_baseline(is_own: bool) -> None:
    spec = {"baseline": {"batch_size": 16}} if is_own else {}
    own = replace(study(), spec=spec, budget=Budget(minutes=9))
    snapshot, console = Snapshot(own, TRIALS), Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(front_listing(snapshot))
    texts = [
        describe_trial(Recommender(own, TRIALS), TRIALS[1]),
        describe_default(own, 60),
        snapshot.strategy_differences[0],
        capture.get(),
    ]
    name, other = ("your baseline", "the default") if is_own else ("the default", "your baseline")
    assert all(name in text and other not in text for text in texts), texts
