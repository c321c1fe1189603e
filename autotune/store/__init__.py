"""Studies, trials and measurements in SQLite or PostgreSQL. Start with :func:`open_store`."""

from autotune.ports import StudyOverview
from autotune.store.buffered import BufferedStore, open_driver_store
from autotune.store.migrations import SchemaStatus, check, upgrade
from autotune.store.sql import SqlStore, open_store

__all__ = [
    "BufferedStore",
    "SchemaStatus",
    "SqlStore",
    "StudyOverview",
    "check",
    "open_driver_store",
    "open_store",
    "upgrade",
]
