"""Live studies, and readers next to a running search."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sample_studies as samples

from autotune.domain import Completed, SearchState, SearchStatus, TrialOrigin, TrialResult
from autotune.errors import StoreUnavailableError
from autotune.store import open_store
from dashboard.live import LiveStudy
from dashboard.views.studies import _state


def test_live_study_reads_only_changes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    writer = open_store(url)
    study = samples.study("live")
    writer.create_study(study, {})
    reader = open_store(url, read_only=True)
    live = LiveStudy(reader, "live")
    assert live.refresh().trials == []
    trial = writer.start("live", study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    snapshot = live.refresh()
    assert [t.number for t in snapshot.trials] == [0] and live.revision == 1
    assert live.refresh() is snapshot and live.revision == 1
    writer.finish("live", trial.number, Completed(TrialResult()))
    assert live.refresh().trials[0].state.is_finished and live.revision == 2
    with pytest.raises(StoreUnavailableError):
        reader.enqueue("live", study.baseline, origin=TrialOrigin.SAMPLED, seed=0)


def test_study_counts_as_running_between_trials(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'between.db'}")
    study = samples.study("between")
    samples.write(store, study, list(samples.trials(study, 3)))
    (overview,) = store.studies_overview()
    assert _state(overview, 0.5) == "stopped" and _state(overview, 1.0) == "done"
    assert _state(replace(overview, changed_at=datetime.now(UTC)), 0.5) == "running"
    for state in (SearchState.DONE, SearchState.FAILED, SearchState.STOPPED):
        ended = replace(overview, search=SearchStatus(state, "why"), changed_at=datetime.now(UTC))
        assert _state(ended, 0.5) == state
    lost = replace(overview, search=SearchStatus(SearchState.RUNNING))
    assert _state(lost, 0.5) == "killed"


def test_readers_do_not_block_a_running_search(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'busy.db'}"
    writer = open_store(url)
    study = samples.study("busy")
    samples.write(writer, study, list(samples.trials(study, 30)))
    reader = open_store(url, read_only=True)
    with reader._database.transaction() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM trials").scalar_one()
        trial = writer.start("busy", study.baseline, origin=TrialOrigin.SAMPLED, seed=0)
        writer.finish("busy", trial.number, Completed(TrialResult()))
        count = connection.exec_driver_sql("SELECT count(*) FROM trials").scalar_one()
    assert count == 30
    assert len(reader.trials("busy")) == 31
