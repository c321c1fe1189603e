"""The contract of every store.

Derive a class named ``Test...`` from :class:`StoreContract` and give it a fixture ``store``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from autotune.domain import (
    Completed,
    CurvePoint,
    Failed,
    FailureReason,
    Infeasible,
    Interrupted,
    Measurement,
    Outcome,
    Pruned,
    SearchState,
    SearchStatus,
    State,
    Strategy,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.strategy import LATER_DEFAULTS
from autotune.errors import NotFoundError, UsageError
from autotune.ports import Proposal, Store
from tests.store.samples import ENVIRONMENT, completed, strategy, study, trial_result


def start(store: Store, study: str, strategy: Strategy, *, origin: TrialOrigin, seed: int) -> Trial:
    """Add a running trial."""
    trial = store.claim(study, Proposal(strategy, origin, seed), number=len(store.trials(study)))
    assert trial is not None
    return trial


def enqueue(
    store: Store, study: str, strategy: Strategy, *, origin: TrialOrigin, seed: int
) -> Trial:
    """Add a queued trial."""
    proposal = Proposal(strategy, origin, seed)
    trial = store.claim(study, proposal, number=len(store.trials(study)), queue=True)
    assert trial is not None
    return trial


class StoreContract:
    """Behaviour of the port :class:`autotune.ports.Store`."""

    @pytest.fixture
    def bert(self, store: Store) -> str:
        """A study in the store, by name."""
        store.create_study(study("bert"), ENVIRONMENT)
        return "bert"

    def test_implements_store(self, store: Store) -> None:
        assert isinstance(store, Store)

    # ---------------------------------------------------------------------------- studies

    def test_study_returns_equal(self, store: Store, bert: str) -> None:
        stored = store.study(bert)
        assert stored == study()
        values = stored.space.dimensions[0].domain.values  # type: ignore[union-attr]
        assert [type(value) for value in values] == [bool, int, float, str] * 2

    def test_studies_are_listed_oldest_first(self, store: Store) -> None:
        for name in ("zebra", "ape", "mole"):
            store.create_study(study(name), {})
        assert list(store.studies()) == ["zebra", "ape", "mole"]

    def test_names_are_unique(self, store: Store, bert: str) -> None:
        with pytest.raises(UsageError, match="bert"):
            store.create_study(study(bert), {"other": 1})
        assert store.environment(bert) == ENVIRONMENT

    def test_unknown_study_names_the_nearest(self, store: Store, bert: str) -> None:
        for call in (store.study, store.trials, store.environment):
            with pytest.raises(NotFoundError, match=r"bertt.*nearest.* bert"):
                call("bertt")

    def test_update_replaces_the_study(self, store: Store, bert: str) -> None:
        changed = replace(study(bert), budget=replace(study().budget, trials=99), spec={"new": 1})
        store.update_study(changed)
        assert store.study(bert) == changed

    def test_environment_returns_equal(self, store: Store, bert: str) -> None:
        assert store.environment(bert) == ENVIRONMENT

    # ----------------------------------------------------------------------------- trials

    def test_the_status_of_a_search_is_that_recorded_last(self, store: Store, bert: str) -> None:
        assert store.studies_overview()[0].search is None
        running = SearchStatus(SearchState.RUNNING)
        done = SearchStatus(SearchState.DONE, "the space is exhausted\0")
        stored = SearchStatus(SearchState.DONE, "the space is exhausted\ufffd")
        for status, expected in ((running, running), (done, stored)):
            revision = store.studies_overview()[0].revision
            store.record_search(bert, status)
            (overview,) = store.studies_overview()
            assert overview.search == expected and overview.revision > revision
        store.update_study(store.study(bert))
        assert store.studies_overview()[0].search == stored

    def test_no_trials(self, store: Store, bert: str) -> None:
        assert list(store.trials(bert)) == []

    def test_numbers_count_from_zero_in_each_study(self, store: Store, bert: str) -> None:
        store.create_study(study("other"), {})
        first = start(store, bert, strategy(0), origin=TrialOrigin.DEFAULT, seed=1)
        queued = enqueue(store, bert, strategy(1), origin=TrialOrigin.ENQUEUED, seed=2)
        elsewhere = start(store, "other", strategy(2), origin=TrialOrigin.SAMPLED, seed=3)
        assert (first.number, queued.number, elsewhere.number) == (0, 1, 0)

    def test_start_gives_a_running_trial(self, store: Store, bert: str) -> None:
        trial = start(store, bert, strategy(), origin=TrialOrigin.DEFAULT, seed=7)
        assert (trial.state, trial.strategy, trial.origin) == (
            State.RUNNING,
            strategy(),
            "baseline",
        )
        assert trial.seed == 7
        assert trial.started_at is not None
        assert trial.started_at.utcoffset() == UTC.utcoffset(None)
        assert store.trial(bert, 0) == trial

    def test_strategy_keeps_types(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        for trial in (store.trial(bert, 0), store.trials(bert)[0]):
            types = {name: type(value) for name, value in trial.strategy.values.items()}
            own = {name: kind for name, kind in types.items() if name not in LATER_DEFAULTS}
            assert own == {
                "batch_size": int,
                "fused": bool,
                "rate": float,
                "name": str,
                "zero": int,
            }
            assert trial.strategy.key == strategy().key

    def test_a_claim_needs_the_next_free_number(self, store: Store, bert: str) -> None:
        proposal = Proposal(strategy(), TrialOrigin.SAMPLED, 5)
        assert store.claim(bert, proposal, number=1) is None
        trial = store.claim(bert, proposal, number=0)
        assert trial is not None and (trial.number, trial.state) == (0, State.RUNNING)
        assert (trial.strategy, trial.origin, trial.seed) == (strategy(), "sampler", 5)
        assert store.claim(bert, proposal, number=0) is None, "another driver was faster"

    def test_the_queued_trial_with_the_lowest_number_is_claimed(
        self, store: Store, bert: str
    ) -> None:
        enqueue(store, bert, strategy(1), origin=TrialOrigin.RETRY, seed=5)
        enqueue(store, bert, strategy(2), origin=TrialOrigin.RETRY, seed=5)
        trial = store.claim_next_queued(bert)
        assert trial is not None and (trial.number, trial.state) == (0, State.RUNNING)
        assert store.trial(bert, 1).state is State.QUEUED

    def test_finished_trial_returns_equal(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        ended = store.finish(bert, 0, completed())
        assert ended.result == trial_result()
        assert ended.seconds is not None
        assert ended.seconds >= 0
        assert store.trial(bert, 0) == ended

    @pytest.mark.parametrize(
        ("outcome", "state", "kind"),
        [
            (Completed(TrialResult()), State.COMPLETE, None),
            (Pruned("dominated"), State.PRUNED, None),
            (Infeasible(FailureReason.OUT_OF_MEMORY, "9 GiB"), State.INFEASIBLE, "out_of_memory"),
            (Failed(FailureReason.CRASH, "signal 11"), State.FAILED, "crash"),
            (Interrupted("stopped"), State.INTERRUPTED, None),
        ],
    )
    def test_every_outcome(
        self, store: Store, bert: str, outcome: Outcome, state: State, kind: str | None
    ) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.finish(bert, 0, outcome)
        trial = store.trial(bert, 0)
        assert (trial.state, trial.failure) == (state, kind)
        assert trial.reason == getattr(outcome, "reason", None)

    def test_listing_has_numbers_without_raw_samples(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.finish(bert, 0, completed())
        (trial,) = store.trials(bert)
        assert trial.metrics == store.trial(bert, 0).metrics
        speed = trial.result.measurements["speed"]
        assert (speed.n, speed.ci95, speed.samples) == (9, (199.25, 203.75), ())
        assert trial.result.measurements["accuracy"].source == 0
        assert trial.result.curve == ()

    def test_listing_by_state_is_in_order(self, store: Store, bert: str) -> None:
        for index in range(4):
            start(store, bert, strategy(index), origin=TrialOrigin.SAMPLED, seed=0)
        for index in (3, 1):
            store.finish(bert, index, completed())
        trials = store.trials(bert, states=[State.COMPLETE])
        assert [trial.number for trial in trials] == [1, 3]
        assert all(a.number < b.number for a, b in pairwise(store.trials(bert)))

    def test_finishing_twice_with_one_state_changes_nothing(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        first = store.finish(bert, 0, completed())
        assert store.finish(bert, 0, Completed(TrialResult())) == first
        assert store.trial(bert, 0) == first

    def test_finishing_with_another_state_is_refused(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.finish(bert, 0, completed())
        with pytest.raises(UsageError, match="trial 0 is complete"):
            store.finish(bert, 0, Failed(FailureReason.ERROR, "late"))
        enqueue(store, bert, strategy(1), origin=TrialOrigin.SAMPLED, seed=0)
        with pytest.raises(UsageError, match="trial 1 is queued"):
            store.finish(bert, 1, completed())

    def test_interrupted_trial_accepts_a_late_result(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.finish(bert, 0, Interrupted("its driver went away"))
        store.finish(bert, 0, completed())
        trial = store.trial(bert, 0)
        assert (trial.state, trial.reason) == (State.COMPLETE, None)
        assert trial.result == trial_result()

    def test_confirmations_are_listed_with_their_samples(self, store: Store, bert: str) -> None:
        for number, origin in enumerate((TrialOrigin.SAMPLED, TrialOrigin.CONFIRMATION)):
            start(store, bert, strategy(), origin=origin, seed=number)
            store.finish(bert, number, completed())
        expected = [trial_result().correctness] * 2
        assert [trial.result.correctness for trial in store.trials(bert)] == expected
        samples = [trial.result.measurements["accuracy"].samples for trial in store.trials(bert)]
        assert samples == [(), trial_result().measurements["accuracy"].samples]
        changes, cursor = store.trials_since(bert)
        assert [trial.result.correctness for trial in changes] == expected
        start(store, bert, strategy(1), origin=TrialOrigin.SAMPLED, seed=0)
        (running,) = store.trials_since(bert, cursor)[0]
        assert running.result.correctness is None
        assert store.trial(bert, 0).result.correctness == trial_result().correctness

    def test_unknown_trial(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        with pytest.raises(NotFoundError, match="no trial 7"):
            store.trial(bert, 7)
        with pytest.raises(NotFoundError, match="no trial 7"):
            store.finish(bert, 7, completed())

    # ------------------------------------------------------------------------- the curve

    def test_reported_points_are_kept_in_order(self, store: Store, bert: str) -> None:
        points = tuple(CurvePoint(i, 20, 8 * i, i / 2, metrics={"f1": i / 7}) for i in range(5))
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        for point in points:
            store.report(bert, 0, point)
        assert store.trial(bert, 0).result.curve == points

    def test_curve_of_a_crashed_trial_is_kept(self, store: Store, bert: str) -> None:
        point = CurvePoint(1, 20, 8, 0.5, loss=2.0)
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.report(bert, 0, point)
        store.finish(bert, 0, Failed(FailureReason.CRASH, "signal 9"))
        assert store.trial(bert, 0).result.curve == (point,)

    def test_curve_of_the_outcome_replaces_reports(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.report(bert, 0, trial_result().curve[0])
        store.finish(bert, 0, completed())
        assert store.trial(bert, 0).result.curve == trial_result().curve

    def test_no_points_after_the_end(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.finish(bert, 0, completed())
        with pytest.raises(UsageError, match="complete, not running"):
            store.report(bert, 0, CurvePoint(1, 20, 8, 0.5))

    # -------------------------------------------------------------------- awkward values

    def test_nan_and_infinity(self, store: Store, bert: str) -> None:
        nan, inf = float("nan"), float("inf")
        measured = Measurement("m", nan, "s", 3, (-inf, inf), (nan, inf, -inf, 1.0))
        point = CurvePoint(1, 2, 3, 4.0, loss=nan, metrics={"a": nan})
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.finish(
            bert, 0, Failed(FailureReason.ERROR, "NaN", TrialResult({"m": measured}, (point,)))
        )
        stored = store.trial(bert, 0).result
        assert repr(stored.measurements["m"]) == repr(measured)
        assert repr(stored.curve) == repr((point,))
        assert repr(store.trials(bert)[0].metrics) == "{'m': nan}"

    def test_numbers_of_numpy(self, store: Store, bert: str) -> None:
        half: Any = np.float32(0.5)
        three: Any = np.int64(3)
        measured = Measurement("m", half, "s", three, (half, half), (half,), (half,))
        point = CurvePoint(three, three, three, half, half, {"f1": half})
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        store.finish(bert, 0, Completed(TrialResult({"m": measured}, (point,), ((half, half),))))
        stored = store.trial(bert, 0).result
        assert stored.measurements == {"m": measured}
        assert (stored.curve, stored.memory) == ((point,), ((0.5, 0.5),))

    def test_text_that_databases_reject(self, store: Store, bert: str) -> None:
        start(store, bert, strategy(), origin=TrialOrigin.SAMPLED, seed=0)
        odd = TrialResult(log="a\0b\ud800'; DROP TABLE trials; --", environment={"k\0": "\ud800"})
        store.finish(bert, 0, Failed(FailureReason.ERROR, "x" * 100_000 + "\0", odd))
        trial = store.trial(bert, 0)
        assert trial.reason is not None
        assert len(trial.reason) == 100_001
        assert trial.result.log == "a\N{REPLACEMENT CHARACTER}b?'; DROP TABLE trials; --"

    def test_close_twice(self, store: Store) -> None:
        store.close()
        store.close()
