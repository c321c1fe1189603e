"""A small study, the store that it is in, and a PostgreSQL for several drivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.domain import Study
from autotune.store import SqlStore, open_store
from tests.store.postgres_server import postgres_server, postgres_url
from tests.tuner.small_study import small_study

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture
def study() -> Study:
    return small_study()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path}/t.db")
    yield opened
    opened.close()
