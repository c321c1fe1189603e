"""The snapshot agrees with the functions it bundles."""

from __future__ import annotations

from dataclasses import replace

from small_studies import ACCURACY, SPEED, study, trial, trials

from autotune.analysis.decimate import decimate
from autotune.analysis.front import (
    feasible_trials,
    front_by_metrics,
    knee,
    pareto_front,
    pareto_optimal,
)
from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.probability import front_probabilities
from autotune.analysis.snapshot import Snapshot, Verdict
from autotune.domain import Constraint, State, TrialOrigin

ASKED = study(constraints=[Constraint(ACCURACY, ">=", 0.5)])
FOUND = [
    *trials((10, 0.8), (20, 0.7), (15, 0.6), (50, 0.4)),
    trial(4, {SPEED: 9.0}),
    trial(5, {SPEED: 9.0, ACCURACY: 0.9}, origin=TrialOrigin.CONFIRMATION),
    trial(6, state=State.INFEASIBLE, reason="out of memory"),
]


def test_agrees_with_the_plain_functions() -> None:
    taken = Snapshot(ASKED, FOUND)
    assert taken.baseline == FOUND[0]
    assert taken.feasible == feasible_trials(ASKED, FOUND)
    assert taken.front == pareto_front(ASKED, FOUND)
    assert taken.knee == knee(ASKED, taken.front)
    assert taken.hypervolume_history[-1].value == hypervolume(ASKED, FOUND)


def test_a_run_alone_stands_in_for_the_first() -> None:
    first = trial(1, {SPEED: 20.0, ACCURACY: 0.7})
    alone = replace(first, number=2, origin=TrialOrigin.ISOLATED_RERUN)
    taken = Snapshot(ASKED, [*trials((10, 0.8)), first, alone])
    assert taken.feasible == feasible_trials(ASKED, taken.trials)
    assert taken.verdicts[1] is Verdict.SUPERSEDED and taken.verdicts[2] is Verdict.FRONT


def test_bounds_narrow_and_fronts_agree_with_the_plain_ones() -> None:
    taken = Snapshot(ASKED, FOUND)
    assert taken.filter_trials(taken.metric_filters) is taken.feasible
    fast = next(b for b in taken.metric_filters if b.metric == SPEED)
    members = taken.filter_trials([fast.with_value(14.0)])
    assert [t.metric(SPEED) for t in members] == [20, 15]
    assert taken.front_of(members) == pareto_optimal(ASKED, members)
    assert taken.front_of(members, [ACCURACY]) == front_by_metrics(ASKED, members, [ACCURACY])
    assert taken.front_of([]) == []


def test_confirming_runs_and_what_they_confirm() -> None:
    first = FOUND[0]
    runs = [replace(first, number=n, origin=TrialOrigin.CONFIRMATION, seed=n) for n in (7, 8)]
    taken = Snapshot(ASKED, [*FOUND, *runs])
    assert [t.number for t in taken.replicates.confirmations(first)] == [7, 8]
    assert taken.confirmed_trial(runs[0]) == first and taken.confirmed_trial(first) is None


def test_a_point_of_the_front_has_a_chance_to_be_there() -> None:
    taken = Snapshot(ASKED, FOUND)
    assert taken.front_probabilities == front_probabilities(
        ASKED, FOUND, taken.front, taken.replicates
    )
    assert taken.front_probabilities.keys() == {0, 1}


def test_verdicts() -> None:
    assert list(Snapshot(ASKED, FOUND).verdicts.values()) == [
        Verdict.FRONT,
        Verdict.FRONT,
        Verdict.DOMINATED,
        Verdict.VIOLATING,
        Verdict.UNMEASURED,
        Verdict.CONFIRMATION,
        Verdict.UNFINISHED,
    ]


def test_columns_have_a_row_a_trial() -> None:
    columns = Snapshot(ASKED, FOUND).table_columns()
    assert {len(column) for column in columns.values()} == {len(FOUND)}
    assert columns[ACCURACY][4] is None
    assert columns["precision"][:2] == ["fp32", "bf16"]
    assert columns["reason"][6] == "out of memory"


def test_settings_name_what_differs() -> None:
    words = Snapshot(ASKED, FOUND).strategy_differences
    assert words[0] == "the default configuration"
    assert words[1] == "batch_size 16, precision bf16"


def test_empty() -> None:
    taken = Snapshot(study(), [])
    assert taken.knee is taken.baseline is None
    assert taken.metrics == [SPEED, ACCURACY]
    assert taken.table_columns()["trial"] == []


def test_thinning_keeps_one_point_a_cell() -> None:
    assert decimate([1, 1, 1], [2, 2, 2]) == [0, 1, 2]
    assert decimate([1.0] * 50, [2.0] * 50, max_points=10) == [0]
    line = [float(n) for n in range(1000)]
    places = decimate(line, line, max_points=100)
    assert len(places) == 100 and places[0] == 0
