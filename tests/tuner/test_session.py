"""A search without a user interface: a study goes in, a result comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from autotune.domain import (
    Budget,
    Interrupted,
    SearchState,
    SearchStatus,
    State,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.errors import IncompatibleStudyError, NotFoundError, StoreUnavailableError
from autotune.ports import Ask, Clock, Evaluate, ShouldStop, Tell
from autotune.store import SqlStore
from autotune.trial.data.datasets import PreparedTask, prepare_task
from autotune.trial.model_sources import digest_models
from autotune.tuner.session import NullObserver, SearchSession, run_search, unrecorded_code
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver, formula

PREPARED = PreparedTask("text-classification", "", "", ("a", "b"), {}, 8, 0, {}, {}, ())


class FormulaExecutor(InlineExecutor):
    """Computes a formula instead of a trial. It has a clock, as an executor that replays trials, so
    that the session loads neither model nor data."""

    clock: Clock | None = staticmethod(lambda: datetime.now(UTC))

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        super().run(ask, formula, tell, should_stop)


@pytest.fixture
def study(study: Study) -> Study:
    return replace(study, budget=Budget(trials=3))


def test_a_study_is_searched_without_anything_printed(
    study: Study, store: SqlStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    observer = RecordingObserver()
    result = run_search(
        study, store, FormulaExecutor(), HOST, directory=tmp_path, observer=observer
    )
    assert result.reason == "all 3 trials are done"
    assert [t.state for t in result.trials] == [State.COMPLETE] * 3
    assert list(result.trials) == list(store.trials(study.name))
    assert result.has_completed_trial and not result.is_interrupted
    assert observer.events[-1] == ("finished", 2)
    assert store.environments(study.name)[0]["fingerprint"] == HOST.fingerprint
    ended = SearchStatus(SearchState.DONE, result.reason)
    assert store.search_status(study.name) == ended
    assert capfd.readouterr() == ("", "")


def test_a_stored_study_is_continued(study: Study, store: SqlStore, tmp_path: Path) -> None:
    run_search(study, store, FormulaExecutor(), HOST, directory=tmp_path)
    longer = replace(study, budget=Budget(trials=5))
    session = SearchSession(longer, store, FormulaExecutor(), HOST, directory=tmp_path)
    assert session.prepare() is None
    assert session.create_or_continue() == 3
    with session.acquire():
        assert len(session.run(NullObserver()).trials) == 5
    assert store.study(study.name).budget.trials == 5
    assert len(store.environments(study.name)) == 2


def test_a_new_study_has_no_stored_trials(study: Study, store: SqlStore, tmp_path: Path) -> None:
    session = SearchSession(study, store, FormulaExecutor(), HOST, directory=tmp_path)
    assert session.create_or_continue() is None


def test_other_settings_under_the_same_name_are_refused(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    run_search(study, store, FormulaExecutor(), HOST, directory=tmp_path)
    other = replace(study, task=replace(study.task, max_length=32))
    with pytest.raises(IncompatibleStudyError, match="already exists with different settings"):
        run_search(other, store, FormulaExecutor(), HOST, directory=tmp_path)


def test_a_study_of_before_code_was_recorded_goes_on(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    """Its document has no such key. From then on a change of the code is noticed."""
    own = replace(study, task=replace(study.task, loss="my_losses:focal"))
    run_search(own, store, FormulaExecutor(), HOST, directory=tmp_path)
    with create_engine(f"sqlite:///{tmp_path}/t.db").begin() as connection:
        connection.execute(text("UPDATE studies SET study = json_remove(study, '$.task.code')"))
    now = replace(own, budget=Budget(trials=4), task=replace(own.task, code="1" * 16))
    (note,) = unrecorded_code(store, now)
    assert "was not recorded" in note
    result = run_search(now, store, FormulaExecutor(), HOST, directory=tmp_path)
    assert len(result.trials) == 4
    assert store.study(study.name).task.code == "1" * 16
    assert unrecorded_code(store, now) == ()
    edited = replace(now, task=replace(now.task, code="2" * 16))
    with pytest.raises(IncompatibleStudyError, match=r"task\.code was 1"):
        run_search(edited, store, FormulaExecutor(), HOST, directory=tmp_path)


def test_a_missing_source_study_stores_nothing(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError):
        run_search(
            replace(study, warm_start="missing"), store, FormulaExecutor(), HOST, directory=tmp_path
        )
    assert store.studies() == []


def test_trials_of_a_killed_driver_are_interrupted_and_run_again(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    store.create_study(study, {})
    store.start(study.name, study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    session = SearchSession(study, store, FormulaExecutor(), HOST, directory=tmp_path)
    session.create_or_continue()
    with session.acquire() as trials:
        assert [t.state for t in trials] == [State.INTERRUPTED]
        result = session.run(NullObserver())
    assert [t.state for t in result.trials] == [State.INTERRUPTED, *[State.COMPLETE] * 3]


class DeadDatabase(FormulaExecutor):
    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        raise StoreUnavailableError("the disk is full")


def test_the_end_of_a_search_is_stored(study: Study, store: SqlStore, tmp_path: Path) -> None:
    """Also of one that failed; a driver that was killed records none."""
    store.create_study(study, {})
    store.record_search(study.name, SearchStatus(SearchState.RUNNING))
    trial = store.start(study.name, study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    (overview,) = store.studies_overview()
    later = overview.changed_at + timedelta(seconds=2 * study.executor.takeover_seconds)
    assert overview.status(overview.changed_at) == SearchStatus(SearchState.RUNNING)
    killed = overview.status(later)
    assert killed is not None and killed.state is SearchState.KILLED
    store.finish(study.name, trial.number, Interrupted("its driver went away"))
    with pytest.raises(StoreUnavailableError):
        run_search(study, store, DeadDatabase(), HOST, directory=tmp_path)
    failed = SearchStatus(SearchState.FAILED, "the disk is full")
    assert store.search_status(study.name) == failed


def test_a_stopped_session_says_so(study: Study, store: SqlStore, tmp_path: Path) -> None:
    session = SearchSession(study, store, FormulaExecutor(), HOST, directory=tmp_path)

    class StoppingObserver(NullObserver):
        def started(self, trial: Trial) -> None:
            session.stop()

    session.create_or_continue()
    with session.acquire():
        result = session.run(StoppingObserver())
    assert (result.reason, result.is_interrupted) == ("interrupted", True)
    assert [t.state for t in result.trials] == [State.COMPLETE], "the running trial is finished"


def test_a_session_that_is_stopped_before_its_search_starts_nothing(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    session = SearchSession(study, store, FormulaExecutor(), HOST, directory=tmp_path)
    session.create_or_continue()
    session.stop()
    with session.acquire():
        result = session.run(NullObserver())
    assert result.is_interrupted and not result.has_completed_trial
    assert [t.state for t in result.trials] == [State.QUEUED]


def test_recorded_trials_have_no_replicates(study: Study, store: SqlStore, tmp_path: Path) -> None:
    """A recording has no results with the seeds of replicates."""
    for executor, expected in ((FormulaExecutor(), False), (InlineExecutor(), True)):
        session = SearchSession(study, store, executor, HOST, directory=tmp_path)
        assert session._make_tuner(NullObserver()).sources.replicates is expected


class LoadingExecutor(FormulaExecutor):
    """Hashes models, and pretends to load the data."""

    clock = None

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if function is digest_models:
            return digest_models(*args)
        return PREPARED if prepare_task in args else None


def test_a_teacher_that_was_edited_between_two_sessions_is_noticed(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    config = tmp_path / "teacher/config.json"
    config.parent.mkdir()
    config.write_text("{}")
    study = replace(study, task=replace(study.task, teacher=str(config.parent)))
    first, second = (
        SearchSession(study, store, LoadingExecutor(), HOST, directory=tmp_path) for _ in range(2)
    )
    assert first.prepare() == PREPARED
    assert first.create_or_continue() is None
    config.write_text('{"edited": true}')
    second.prepare()
    with pytest.raises(IncompatibleStudyError, match=f"the content of model {config.parent} was"):
        second.create_or_continue()
