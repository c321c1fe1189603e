"""The snapshot agrees with the functions it bundles."""

from __future__ import annotations

from dataclasses import replace

from small_studies import ACCURACY, SPEED, study, trial, trials

from autotune.analysis.decimate import thinned
from autotune.analysis.front import feasible, front_of, knee, pareto_front, undominated
from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.probability import probabilities
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
    assert taken.default == FOUND[0]
    assert taken.feasible == feasible(ASKED, FOUND)
    assert taken.front == pareto_front(ASKED, FOUND)
    assert taken.knee == knee(ASKED, taken.front)
    assert taken.history[-1].value == hypervolume(ASKED, FOUND)


def test_a_run_alone_stands_in_for_the_first() -> None:
    first = trial(1, {SPEED: 20.0, ACCURACY: 0.7})
    alone = replace(first, number=2, origin=TrialOrigin.ISOLATED_RERUN)
    taken = Snapshot(ASKED, [*trials((10, 0.8)), first, alone])
    assert taken.feasible == feasible(ASKED, taken.trials)
    assert taken.verdicts[1] is Verdict.SUPERSEDED and taken.verdicts[2] is Verdict.FRONT


def test_bounds_narrow_and_fronts_agree_with_the_plain_ones() -> None:
    taken = Snapshot(ASKED, FOUND)
    assert taken.passing(taken.bounds) is taken.feasible
    fast = next(b for b in taken.bounds if b.metric == SPEED)
    members = taken.passing([fast.at(14.0)])
    assert [t.metric(SPEED) for t in members] == [20, 15]
    assert taken.front_of(members) == undominated(ASKED, members)
    assert taken.front_of(members, [ACCURACY]) == front_of(ASKED, members, [ACCURACY])
    assert taken.front_of([]) == []


def test_confirming_runs_and_what_they_confirm() -> None:
    first = FOUND[0]
    runs = [replace(first, number=n, origin=TrialOrigin.CONFIRMATION, seed=n) for n in (7, 8)]
    taken = Snapshot(ASKED, [*FOUND, *runs])
    assert [t.number for t in taken.repeats.of(first)] == [7, 8]
    assert taken.confirms(runs[0]) == first and taken.confirms(first) is None


def test_a_point_of_the_front_has_a_chance_to_be_there() -> None:
    taken = Snapshot(ASKED, FOUND)
    assert taken.front_probabilities == probabilities(ASKED, FOUND, taken.front, taken.repeats)
    assert taken.front_probabilities.keys() == {0, 1}


def test_verdicts() -> None:
    assert list(Snapshot(ASKED, FOUND).verdicts.values()) == [
        Verdict.FRONT,
        Verdict.FRONT,
        Verdict.DOMINATED,
        Verdict.OUTSIDE,
        Verdict.PARTIAL,
        Verdict.CONFIRMING,
        Verdict.UNFINISHED,
    ]


def test_columns_have_a_row_a_trial() -> None:
    columns = Snapshot(ASKED, FOUND).columns()
    assert {len(column) for column in columns.values()} == {len(FOUND)}
    assert columns[ACCURACY][4] is None
    assert columns["precision"][:2] == ["fp32", "bf16"]
    assert columns["reason"][6] == "out of memory"


def test_settings_name_what_differs() -> None:
    words = Snapshot(ASKED, FOUND).settings
    assert words[0] == "the default configuration"
    assert words[1] == "batch_size 16, precision bf16"


def test_empty() -> None:
    taken = Snapshot(study(), [])
    assert taken.knee is taken.default is None
    assert taken.metrics == [SPEED, ACCURACY]
    assert taken.columns()["trial"] == []


def test_thinning_keeps_one_point_a_cell() -> None:
    assert thinned([1, 1, 1], [2, 2, 2]) == [0, 1, 2]
    assert thinned([1.0] * 50, [2.0] * 50, most=10) == [0]
    line = [float(n) for n in range(1000)]
    places = thinned(line, line, most=100)
    assert len(places) == 100 and places[0] == 0
