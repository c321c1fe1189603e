"""The end of a search in words: what was used, and what is kept for confirmations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autotune.analysis.budget import BudgetUsage
from autotune.domain import Budget
from benchmarks import sample_studies as samples

STUDY = samples.study("sample")
FIRST = next(iter(samples.trials(STUDY, 1)))
TRIALS = [
    replace(
        FIRST,
        number=number,
        started_at=samples.START + timedelta(minutes=2 * number),
        finished_at=samples.START + timedelta(minutes=2 * number + 2),
    )
    for number in range(5)
]
USAGE = BudgetUsage(TRIALS, None)


@pytest.mark.parametrize(
    ("search", "total", "reason"),
    [
        (Budget(trials=5), Budget(trials=5), "all 5 trials are done"),
        (Budget(trials=5), Budget(trials=8), "searched 5 of 8 trials, 3 kept to confirm"),
        (Budget(minutes=10), Budget(minutes=10), "searched 10.0 of 10 minutes"),
        (Budget(minutes=10), Budget(minutes=15), "searched 10.0 of 15 minutes, 5 kept to confirm"),
        (
            Budget(minutes=10),
            Budget(minutes=160),
            "searched 10.0 of 160 minutes, 150 kept to confirm",
        ),
        (Budget(trials=6, minutes=15), Budget(trials=9, minutes=20), None),
    ],
)
def test_the_reason_names_the_budget_of_the_study(
    search: Budget, total: Budget, reason: str | None
) -> None:
    assert USAGE.exhausted(search, total) == reason
