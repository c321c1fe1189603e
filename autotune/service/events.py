"""Server-Sent Events of a study: its state and its trials as they change."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool

from autotune.analysis.records import trial_record
from autotune.errors import AutotuneError, NotFoundError, StoreError
from autotune.service.studies import Studies
from autotune.store.codec import to_json

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0

Revisions = Mapping[str, tuple[int, int]]


class ChangeFeed:
    """Reads the revisions of all studies in intervals and wakes who waits for one of them, so that
    the load of the database does not grow with the number of watchers."""

    def __init__(self, studies: Studies) -> None:
        self._studies = studies
        self._revisions: Revisions = {}
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.watchers = 0
        """The number of connections that wait now."""

    def start(self) -> None:
        """Read until :meth:`stop`. Call it in the event loop."""
        self._task = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def revisions(self, study: str) -> tuple[int, int]:
        """The revisions of ``study`` when they were last read."""
        return self._revisions.get(study, (0, 0))

    async def wait(self, study: str, revisions: tuple[int, int]) -> bool:
        """Wait until other ``revisions`` of ``study`` are read; false after some seconds without a
        change."""

        def is_changed() -> bool:
            return self.revisions(study) != revisions

        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(is_changed), timeout=KEEP_ALIVE_SECONDS
                )
            except TimeoutError:
                return False
        return True

    async def _poll(self) -> None:
        while True:
            if self.watchers:
                try:
                    revisions = await run_in_threadpool(self._studies.queue.revisions)
                except StoreError as error:
                    log.warning("changes cannot be read: %s", error)
                else:
                    async with self._changed:
                        if revisions != self._revisions:
                            self._revisions = revisions
                            self._changed.notify_all()
            await asyncio.sleep(self._studies.config.poll_seconds)


async def study_events(feed: ChangeFeed, study: str, cursor: int) -> AsyncIterator[str]:
    """The events of a study in the format of Server-Sent Events: ``state`` with the submission,
    ``trial`` with each trial that changed after ``cursor``, and ``end`` when the study has ended.
    The identifier of an event is the cursor from which a client that reconnects continues."""
    studies = feed._studies
    feed.watchers += 1
    try:
        last_state: dict[str, Any] | None = None
        while True:
            revisions = feed.revisions(study)  # first, so that no later change is missed
            state, trials, cursor = await run_in_threadpool(_changes, studies, study, cursor)
            if state != last_state:
                yield format_event("state", state, cursor)
                last_state = state
            for trial in trials:
                yield format_event("trial", trial, cursor)
            if state["state"] not in ("queued", "running"):
                yield format_event("end", {"state": state["state"], "reason": state["reason"]},
                                   cursor)  # fmt: skip
                return
            while not await feed.wait(study, revisions):
                yield ": nothing new\n\n"
    except AutotuneError as error:
        yield format_event("error", {"error": error.message}, cursor)
    finally:
        feed.watchers -= 1


def _changes(
    studies: Studies, study: str, cursor: int
) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """The submission, the records of trials changed since ``cursor``, and the next cursor."""
    state = studies.find(study).model_dump(mode="json")
    try:
        trials, cursor = studies.store.trials_since(study, cursor)
    except NotFoundError:  # the driver has not stored it yet
        return state, [], cursor
    return state, [to_json(trial_record(trial)) for trial in trials], cursor


def format_event(name: str, data: Mapping[str, Any], cursor: int) -> str:
    """One event. JSON has no line breaks, so that ``data`` is one line."""
    return f"event: {name}\nid: {cursor}\ndata: {json.dumps(data)}\n\n"
