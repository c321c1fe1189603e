"""The studies of a service, read like those of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autotune.analysis.snapshot import Snapshot
from autotune.client.client import Client
from autotune.domain import CurvePoint, SearchState, SearchStatus, State, Study, Trial


class RemoteStore:
    """A :class:`~autotune.ports.StoreReader` over a service, so that commands print the same of
    both. Each study is fetched once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._snapshots: dict[str, Snapshot] = {}

    def studies(self) -> Sequence[str]:
        """The names of all studies that have trials, oldest first."""
        return [s["study"] for s in reversed(self._client.studies()) if s["trials"]]

    def study(self, name: str) -> Study:
        return self._snapshot(name).study

    def trials(self, study: str, *, states: Sequence[State] | None = None) -> Sequence[Trial]:
        trials = self._snapshot(study).trials
        return [trial for trial in trials if states is None or trial.state in states]

    def trial(self, study: str, number: int) -> Trial:
        return self._client.trial(study, number)

    def curves(self, study: str) -> Mapping[int, Sequence[CurvePoint]]:
        return self._client.curves(study)

    def environment(self, study: str) -> Mapping[str, Any]:
        return self._client.environment(study)

    def search_status(self, study: str) -> SearchStatus | None:
        status = self._client.study(study)["status"]
        if status is None or status["state"] is None:
            return None
        return SearchStatus(SearchState(status["state"]), status["reason"])

    def close(self) -> None:
        self._client.close()

    def _snapshot(self, name: str) -> Snapshot:
        if name not in self._snapshots:
            self._snapshots[name] = self._client.snapshot(name)
        return self._snapshots[name]
