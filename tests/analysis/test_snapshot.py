"""The snapshot agrees with the functions it calls."""

from __future__ import annotations

from dataclasses import replace

from small_studies import ACCURACY, SPEED, study, trial, trials

from autotune.analysis.decimate import decimate
from autotune.analysis.front import (
    feasible_trials,
    pareto_front,
    pareto_optimal,
)
from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.probability import front_probabilities
from autotune.analysis.recommendation import Recommender
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import strategy_settings
from autotune.analysis.verdict import Verdict
from autotune.domain import Constraint, State, TrialOrigin

STUDY = study(constraints=[Constraint(ACCURACY, ">=", 0.5)])
TRIALS = [
    *trials((10, 0.8), (20, 0.7), (15, 0.6), (50, 0.4)),
    trial(4, {SPEED: 9.0}),
    trial(5, {SPEED: 9.0, ACCURACY: 0.9}, origin=TrialOrigin.CONFIRMATION),
    trial(6, state=State.INFEASIBLE, reason="out of memory"),
]


def test_agrees_with_the_plain_functions() -> None:
    snapshot = Snapshot(STUDY, TRIALS)
    assert snapshot.baseline == TRIALS[0]
    assert snapshot.feasible == feasible_trials(STUDY, TRIALS)
    assert snapshot.front == pareto_front(STUDY, TRIALS)
    assert snapshot.knee is Recommender(STUDY, TRIALS).recommend("knee").trial
    assert snapshot.hypervolume_history[-1].value == hypervolume(STUDY, TRIALS)


def test_an_isolated_rerun_replaces_the_first_run() -> None:
    first = trial(1, {SPEED: 20.0, ACCURACY: 0.7})
    isolated = replace(first, number=2, origin=TrialOrigin.ISOLATED_RERUN)
    snapshot = Snapshot(STUDY, [*trials((10, 0.8)), first, isolated])
    assert snapshot.feasible == feasible_trials(STUDY, snapshot.trials)
    assert snapshot.verdicts[1] is Verdict.SUPERSEDED and snapshot.verdicts[2] is Verdict.FRONT


def test_fronts_of_filtered_trials_agree_with_the_plain_functions() -> None:
    snapshot = Snapshot(STUDY, TRIALS)
    assert snapshot.filter_trials(snapshot.metric_filters) is snapshot.feasible
    fast = next(b for b in snapshot.metric_filters if b.metric == SPEED)
    members = snapshot.filter_trials([fast.with_value(14.0)])
    assert [t.metric(SPEED) for t in members] == [20, 15]
    accuracy_only = replace(STUDY, objectives=STUDY.objectives[1:])
    assert snapshot.front_of(members) == pareto_optimal(STUDY, members)
    assert snapshot.front_of(members, [ACCURACY]) == pareto_optimal(accuracy_only, members)
    assert snapshot.front_of([]) == []


def test_confirmation_runs_and_their_trials() -> None:
    first = TRIALS[0]
    runs = [replace(first, number=n, origin=TrialOrigin.CONFIRMATION, seed=n) for n in (7, 8)]
    snapshot = Snapshot(STUDY, [*TRIALS, *runs])
    assert [t.number for t in snapshot.replicates.confirmations(first)] == [7, 8]
    assert snapshot.confirmed_trial(runs[0]) == first and snapshot.confirmed_trial(first) is None


def test_members_of_the_front_have_a_probability() -> None:
    snapshot = Snapshot(STUDY, TRIALS)
    assert snapshot.front_probabilities == front_probabilities(STUDY, TRIALS, snapshot.front)
    assert snapshot.front_probabilities.keys() == {0, 1}


def test_verdicts() -> None:
    assert list(Snapshot(STUDY, TRIALS).verdicts.values()) == [
        Verdict.FRONT,
        Verdict.FRONT,
        Verdict.DOMINATED,
        Verdict.VIOLATING,
        Verdict.UNMEASURED,
        Verdict.CONFIRMATION,
        Verdict.UNFINISHED,
    ]


def test_table_has_one_row_per_trial() -> None:
    columns = Snapshot(STUDY, TRIALS).table_columns()
    assert {len(column) for column in columns.values()} == {len(TRIALS)}
    assert columns[ACCURACY][4] is None
    assert columns["precision"][:2] == ["fp32", "bf16"]
    assert columns["reason"][6] == "out of memory"


def test_strategy_differences() -> None:
    differences = Snapshot(STUDY, TRIALS).strategy_differences
    assert differences[0] == "the default configuration"
    assert differences[1] == "batch_size 16, precision bf16"


def test_a_lever_that_was_added_later_is_no_difference() -> None:
    default = STUDY.baseline.with_values(added_later=1)
    assert strategy_settings(STUDY.baseline, default) == []
    strategy = default.with_values(batch_size=16)
    assert strategy_settings(strategy, default) == ["batch_size=16"]


def test_empty() -> None:
    snapshot = Snapshot(study(), [])
    assert snapshot.knee is snapshot.baseline is None
    assert snapshot.metrics == [SPEED, ACCURACY]
    assert snapshot.table_columns()["trial"] == []


def test_decimate_keeps_one_point_per_cell() -> None:
    assert decimate([1, 1, 1], [2, 2, 2]) == [0, 1, 2]
    assert decimate([1.0] * 50, [2.0] * 50, max_points=10) == [0]
    line = [float(n) for n in range(1000)]
    indices = decimate(line, line, max_points=100)
    assert len(indices) == 100 and indices[0] == 0
