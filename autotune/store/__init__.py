"""The single truth: studies, trials and measurements in SQL. Start with :func:`open_store`."""

from autotune.ports import StudyOverview
from autotune.store.buffered import JournaledStore, open_driver_store
from autotune.store.migrations import SchemaStatus, check, upgrade
from autotune.store.sql import SqlStore, open_store

__all__ = [
    "JournaledStore",
    "SchemaStatus",
    "SqlStore",
    "StudyOverview",
    "check",
    "open_driver_store",
    "open_store",
    "upgrade",
]
