"""The store contract over SQL, and what :class:`SqlStore` adds to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autotune.domain import State, TrialOrigin
from autotune.errors import UsageError
from autotune.store import SqlStore, open_store
from tests.contracts.store_contract import StoreContract
from tests.store.samples import strategy


class TestSqlStore(StoreContract):
    """The contract over SQLite and PostgreSQL; see the fixture ``url``."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[SqlStore]:
        store = open_store(url)
        yield store
        store.close()

    def test_queued_trial_is_started_by_number(self, store: SqlStore, bert: str) -> None:
        store.enqueue(bert, strategy(1), origin=TrialOrigin.RETRY, seed=5)
        assert store.trial(bert, 0).state == State.QUEUED
        started = store.start(bert, strategy(1), origin=TrialOrigin.RETRY, seed=5, number=0)
        assert (started.number, started.state, started.origin) == (0, State.RUNNING, "rerun")
        assert started.started_at is not None
        with pytest.raises(UsageError, match="running, not queued"):
            store.start(bert, strategy(1), origin=TrialOrigin.RETRY, seed=5, number=0)
