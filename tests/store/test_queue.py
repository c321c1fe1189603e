"""The queue of the service: turns, leases, limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autotune.errors import NotFoundError, UsageError
from autotune.store import open_store
from autotune.store.queue import MAX_ATTEMPTS, SubmissionQueue
from autotune.store.submissions import SubmissionState

EXPIRED = -1.0
"""Seconds of a lease that is over when it begins."""


@pytest.fixture
def queue(url: str) -> Iterator[SubmissionQueue]:
    open_store(url).close()
    queue = SubmissionQueue(url)
    yield queue
    queue.close()


def submit(queue: SubmissionQueue, *names: str, owner: str = "ann", priority: int = 0) -> None:
    for name in names:
        queue.submit(name, owner=owner, text=f"study: {name}", priority=priority)


def claim_all(queue: SubmissionQueue) -> list[str]:
    names = []
    while (submission := queue.claim("driver")) is not None:
        names.append(submission.study)
    return names


def test_users_take_turns_and_priority_orders_the_studies_of_one(queue: SubmissionQueue) -> None:
    submit(queue, "a1", "a2", "a3")
    submit(queue, "a4", priority=5)
    submit(queue, "b1", "b2", owner="bob")
    assert claim_all(queue) == ["a4", "b1", "a1", "b2", "a2", "a3"]


def test_the_user_who_waits_longest_is_next(queue: SubmissionQueue) -> None:
    submit(queue, "a1", "a2")
    submit(queue, "b1", owner="bob")
    order = []
    for _ in range(3):
        submission = queue.claim("driver")
        assert submission is not None
        order.append(submission.study)
        queue.end(submission.study, "driver", SubmissionState.DONE)
    assert order == ["a1", "b1", "a2"]


def test_names_are_unique(queue: SubmissionQueue) -> None:
    submit(queue, "one")
    with pytest.raises(UsageError, match="exists already"):
        submit(queue, "one", owner="bob")


def test_a_study_of_a_dead_driver_waits_again(url: str, queue: SubmissionQueue) -> None:
    submit(queue, "one")
    hasty = SubmissionQueue(url, lease_seconds=EXPIRED)
    assert hasty.claim("dead") is not None
    assert queue.expire_leases() == ["one"]
    assert not hasty.renew("one", "dead")
    claimed = queue.claim("alive")
    assert claimed is not None and claimed.attempts == 2
    assert queue.expire_leases() == []
    assert queue.renew("one", "alive", progressed=True)
    assert not queue.release("one", "alive", died=True, expired=True), "renewed in the meantime"
    assert queue.find("one").attempts == 0
    assert not queue.end("one", "dead", SubmissionState.DONE), "another driver has the study"
    assert queue.end("one", "alive", SubmissionState.DONE, "all 4 trials are done")
    hasty.close()


def test_a_study_whose_drivers_always_die_fails(queue: SubmissionQueue) -> None:
    submit(queue, "one")
    for _ in range(MAX_ATTEMPTS):
        assert queue.claim("driver") is not None
        assert queue.release("one", "driver", died=True)
    submission = queue.find("one")
    assert submission.state is SubmissionState.FAILED
    assert submission.reason is not None and "died" in submission.reason
    assert queue.claim("driver") is None


def test_a_driver_can_outlive_its_study(queue: SubmissionQueue) -> None:
    submit(queue, "one")
    queue.claim("driver")
    queue.end("one", "driver", SubmissionState.DONE)
    queue.delete("one")
    assert not queue.release("one", "driver", died=True)
    assert not queue.release("one", "driver")


def test_stop_resume_delete(queue: SubmissionQueue) -> None:
    submit(queue, "one")
    assert queue.stop("one").state is SubmissionState.STOPPED
    assert queue.stop("one").state is SubmissionState.STOPPED
    resumed = queue.requeue("one", settings=["budget.trials=9"], minutes=None)
    assert (resumed.state, list(resumed.settings)) == (SubmissionState.QUEUED, ["budget.trials=9"])
    queue.claim("driver")
    assert not queue.is_stop_requested("one", "driver")
    assert queue.stop("one").stop_requested
    assert queue.is_stop_requested("one", "driver")
    with pytest.raises(UsageError, match="is running"):
        queue.requeue("one", settings=[], minutes=None)
    with pytest.raises(UsageError, match="is running"):
        queue.delete("one")
    queue.end("one", "driver", SubmissionState.STOPPED)
    queue.delete("one")
    with pytest.raises(NotFoundError):
        queue.find("one")


def test_limit_of_minutes(queue: SubmissionQueue) -> None:
    with pytest.raises(UsageError, match="no limit of time"):
        queue.submit("free", owner="ann", text="", limit_minutes=60.0)
    queue.submit("one", owner="ann", text="", minutes=40.0, limit_minutes=60.0)
    with pytest.raises(UsageError, match=r"20\.0 of 60 minutes are left"):
        queue.submit("two", owner="ann", text="", minutes=30.0, limit_minutes=60.0)
    queue.submit("bobs", owner="bob", text="", minutes=30.0, limit_minutes=60.0)
    queue.stop("one")
    queue.submit("two", owner="ann", text="", minutes=30.0, limit_minutes=60.0)
    assert queue.committed_minutes("ann") == 30.0


def test_every_change_has_another_revision(queue: SubmissionQueue) -> None:
    submit(queue, "one")
    seen = [queue.revisions("one")["one"]]
    for change in (lambda: queue.claim("driver"), lambda: queue.stop("one"),
                   lambda: queue.end("one", "driver", SubmissionState.STOPPED)):  # fmt: skip
        change()
        seen.append(queue.revisions()["one"])
    assert len(set(seen)) == 4
