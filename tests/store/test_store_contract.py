from __future__ import annotations

from collections.abc import Iterator

import pytest

from autotune.store import SqlStore, open_store
from tests.contracts.store_contract import StoreContract


class TestSqlStore(StoreContract):
    """The contract over SQLite and PostgreSQL; see the fixture ``url``."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[SqlStore]:
        store = open_store(url)
        yield store
        store.close()
