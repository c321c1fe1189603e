"""What the service does with studies: checks, queues, lists and deletes them."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from autotune import spec
from autotune.analysis.snapshot import Snapshot
from autotune.components import EXECUTORS
from autotune.domain import ExecutorConfig, Host, Study
from autotune.domain.registry import import_object
from autotune.errors import NotFoundError, UsageError
from autotune.hardware import inventory, may_have_gpu
from autotune.service.access import require_owner
from autotune.service.config import ServiceConfig
from autotune.service.documents import SubmissionDocument
from autotune.service.files import UserFolder
from autotune.service.policy import REPLAY, ClientPolicy
from autotune.spec.overrides import write_overrides
from autotune.store import SqlStore, open_store
from autotune.store.access import AccessToken
from autotune.store.queue import SubmissionQueue
from autotune.store.submissions import Submission

MAX_SNAPSHOTS = 64

Version = tuple[datetime, int] | None


@dataclass
class Studies:
    """The studies of the store and the queue. Safe to share between threads."""

    config: ServiceConfig
    queue: SubmissionQueue
    store: SqlStore
    host: Host
    _snapshots: OrderedDict[str, tuple[Version, Snapshot]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    # ------------------------------------------------------------------------------ reading

    def find(self, name: str) -> SubmissionDocument:
        """A study of the queue or the store.

        :raises NotFoundError: there is none of this name.
        """
        counts = self.queue.count_trials([name])[name]
        try:
            return SubmissionDocument.from_submission(self.queue.find(name), counts)
        except NotFoundError:
            if name not in self.queue.revisions(name):
                raise NotFoundError(
                    f"there is no study {name}", hint="GET /v1/studies lists all"
                ) from None
            return SubmissionDocument.from_stored_study(name, counts)

    def list_page(
        self, limit: int, offset: int, state: str | None, owner: str | None
    ) -> tuple[int, Sequence[SubmissionDocument]]:
        """The number of all studies that match, and those of one page, the latest first."""
        submissions: dict[str, Submission | None] = {s.study: s for s in self.queue.submissions()}
        stored = self.queue.revisions().keys() - submissions.keys()
        submissions |= dict.fromkeys(sorted(stored))
        names = [
            name
            for name, submission in submissions.items()
            if (state is None or (submission is not None and submission.state == state))
            and (owner is None or (submission is not None and submission.owner == owner))
        ]
        page = names[offset : offset + limit]
        counts = self.queue.count_trials(page)
        return len(names), [
            SubmissionDocument.from_stored_study(name, counts[name])
            if (submission := submissions[name]) is None
            else SubmissionDocument.from_submission(submission, counts[name])
            for name in page
        ]

    def snapshot(self, name: str) -> Snapshot:
        """The study with its trials, computed once for each change.

        :raises NotFoundError: no trial of it is stored.
        """
        version = self.queue.trials_version(name)
        with self._lock:
            cached = self._snapshots.get(name)
            if cached is not None and cached[0] == version:
                self._snapshots.move_to_end(name)
                return cached[1]
        snapshot = Snapshot(self._study(name), self.store.trials(name))
        with self._lock:
            self._snapshots[name] = version, snapshot
            while len(self._snapshots) > MAX_SNAPSHOTS:
                self._snapshots.popitem(last=False)
        return snapshot

    def _study(self, name: str) -> Study:
        try:
            return self.store.study(name)
        except NotFoundError:
            state = self.find(name).state
            raise NotFoundError(
                f"study {name} is {state} and has no trials yet",
                hint=f"GET /v1/studies/{name}/events tells when it has",
            ) from None

    # ----------------------------------------------------------------------------- changing

    def validate(self, user: str, text: str, settings: Sequence[str] = ()) -> Study:
        """The study of a study file of ``user``.

        :raises SpecError: with all mistakes and their places.
        """
        folder = UserFolder.of_user(self.config.folder, user)
        check = ClientPolicy(folder).check
        source = text + "\n"  # text without a line break would be the path of a file
        if self.config.executor is not None:
            settings = [*settings, f"executor.kind={self.config.executor}"]
        config = spec.executor(source, overrides=settings, check=check)
        host = self.host
        if config.kind == REPLAY and config.landscape and folder.has(config.landscape):
            path = str(folder.path / config.landscape)
            host = _recorded_host(replace(config, landscape=path))
        return spec.load(source, host=host, overrides=settings, check=check).study

    def submit(
        self, token: AccessToken, text: str, settings: Sequence[str], priority: int
    ) -> SubmissionDocument:
        """Check a study file and add it to the queue."""
        study = self.validate(token.name, text, settings)
        if study.name in self.store.studies():
            raise UsageError(
                f"a study {study.name} exists already",
                hint="use another name, or resume that study",
            )
        submission = self.queue.submit(
            study.name,
            owner=token.name,
            text=text,
            settings=settings,
            priority=priority,
            minutes=study.budget.minutes,
            limit_minutes=token.minutes,
        )
        return SubmissionDocument.from_submission(submission, {})

    def stop(self, token: AccessToken, name: str) -> SubmissionDocument:
        """Stop a study of the user."""
        require_owner(token, self.queue.find(name).owner, name)
        self.queue.stop(name)
        return self.find(name)

    def resume(
        self, token: AccessToken, name: str, settings: Mapping[str, Any]
    ) -> SubmissionDocument:
        """Let a study of the user that has ended wait again."""
        submission = self.queue.find(name)
        require_owner(token, submission.owner, name)
        overrides = [*submission.settings, *write_overrides(settings)]
        study = self.validate(submission.owner, submission.text, overrides)
        if study.name != name:
            raise UsageError("the name of a study cannot change", hint="submit another study")
        self.queue.requeue(
            name,
            settings=overrides,
            minutes=study.budget.minutes,
            limit_minutes=token.minutes if token.name == submission.owner else None,
        )
        return self.find(name)

    def delete(self, token: AccessToken, name: str) -> None:
        """Delete a study of the user that does not run, with all its trials."""
        owner = self.find(name).owner
        require_owner(token, owner, name)
        if owner is not None:
            self.queue.withdraw(name)
        if name in self.store.studies():
            self.store.delete_study(name)  # refuses while a lost driver may still run
        if owner is not None:
            self.queue.delete(name)
        with self._lock:
            self._snapshots.pop(name, None)
        shutil.rmtree(self.config.runs / name, ignore_errors=True)


def open_studies(config: ServiceConfig) -> Studies:
    """The studies of a database, which is created if needed."""
    queue = SubmissionQueue(config.storage, lease_seconds=config.lease_seconds)
    return Studies(config, queue, open_store(config.storage), _host(config))


def _host(config: ServiceConfig) -> Host:
    """The hardware of the cluster of ``config``, or else of this machine. Only torch can describe a
    GPU, and a worker imports it."""
    from autotune.cli.executors import open_executor

    if config.address is not None:
        cluster = ExecutorConfig(str(config.executor), address=config.address)
        with open_executor(cluster) as opened:
            return opened[1]
    if not may_have_gpu():
        return inventory()
    executor, nodes = import_object(EXECUTORS["local"].factory)(ExecutorConfig())
    with closing(executor):
        host: Host = nodes()[0][1]
        return host


def _recorded_host(config: ExecutorConfig) -> Host:
    executor, nodes = import_object(EXECUTORS[REPLAY].factory)(config)
    with closing(executor):
        host: Host = nodes()[0][1]
        return host
