"""The single truth: studies, trials and measurements in SQL. Start with :func:`open_store`."""

from autotune.store.migrations import SchemaStatus, check, upgrade
from autotune.store.queries import StudyOverview
from autotune.store.repository import SqlStore, open_store

__all__ = ["SchemaStatus", "SqlStore", "StudyOverview", "check", "open_store", "upgrade"]
