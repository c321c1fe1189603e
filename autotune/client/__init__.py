"""The client of the service: submits studies, watches them, and reads their results."""

from __future__ import annotations

from autotune.client.client import Client, StudyEvent

__all__ = ["Client", "StudyEvent"]
