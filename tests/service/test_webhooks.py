"""Webhooks against a receiver: signatures, retries, and what is reported."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from autotune.analysis.snapshot import Snapshot
from autotune.domain import Budget, Measurement, Trial
from autotune.domain.clock import utc_now
from autotune.service.monitor import EventName, Monitor, end_events, search_events
from autotune.service.studies import open_studies
from autotune.service.webhooks import SIGNATURE, TIMESTAMP, WebhookSender, sign
from autotune.store import open_store
from autotune.store.outbox import MAX_ATTEMPTS, Outbox
from autotune.store.queue import SubmissionQueue
from autotune.store.submissions import Submission, SubmissionState
from tests.service.conftest import Service, make_config, store_study
from tests.tuner.small_study import finished_trial, small_study


@dataclass
class Receiver:
    """Answers with ``statuses`` in turn, then with 200, and keeps what it received."""

    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextmanager
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.requests.append((dict(self.headers), body))
            self.send_response(state.statuses.pop(0) if state.statuses else 200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    url = make_config(tmp_path).storage
    open_store(url).close()
    outbox = Outbox(url)
    yield outbox
    outbox.close()


def test_messages_are_signed_and_sent_once(tmp_path: Path, outbox: Outbox) -> None:
    with receiver() as target:
        hook = outbox.add_webhook("me", target.url, [EventName.DONE])
        assert outbox.post(EventName.DONE, "1:done", {"study": "small"}) == 1
        assert outbox.post(EventName.DONE, "1:done", {"study": "small"}) == 0, "posted before"
        assert outbox.post(EventName.FAILED, "1:failed", {}) == 0, "not wanted"
        sender = WebhookSender(make_config(tmp_path), outbox)
        assert (sender.step(), sender.step()) == (1, 0)
    ((headers, body),) = target.requests
    assert json.loads(body) == {"study": "small"}
    assert headers["X-Autotune-Event"] == "study.done"
    assert headers[SIGNATURE] == sign(hook.secret, headers[TIMESTAMP], body)
    assert headers[SIGNATURE] != sign("other", headers[TIMESTAMP], body)


def test_messages_are_sent_again_until_they_arrive(tmp_path: Path, outbox: Outbox) -> None:
    config = make_config(tmp_path, retry_seconds=0.0)
    with receiver() as target:
        target.statuses = [500, 302, 404]
        outbox.add_webhook("me", target.url, [])
        outbox.post(EventName.DONE, "1:done", {})
        assert WebhookSender(config, outbox).step() == 4
        assert outbox.count_waiting() == 0
    deliveries = {headers["X-Autotune-Delivery"] for headers, _ in target.requests}
    assert len(target.requests) == 4 and len(deliveries) == 1


def test_an_address_that_never_answers_is_given_up(tmp_path: Path, outbox: Outbox) -> None:
    outbox.add_webhook("me", "http://127.0.0.1:9/closed", [])
    outbox.post(EventName.DONE, "1:done", {})
    sender = WebhookSender(make_config(tmp_path, retry_seconds=0.0), outbox)
    assert sender.step() == MAX_ATTEMPTS
    patient = WebhookSender(make_config(tmp_path, retry_seconds=60.0), outbox)
    outbox.post(EventName.DONE, "2:done", {})
    assert (patient.step(), patient.step()) == (1, 0), "it waits before the next attempt"
    assert outbox.count_waiting() == 1


@pytest.mark.parametrize("url", ["http://hooks..example/", "http://localhost:99999/"])
def test_an_address_that_cannot_exist_is_a_failed_attempt(
    tmp_path: Path, outbox: Outbox, url: str
) -> None:
    outbox.add_webhook("me", url, [])
    outbox.post(EventName.DONE, "1:done", {})
    sender = WebhookSender(make_config(tmp_path, retry_seconds=60.0), outbox)
    assert (sender.step(), sender.step()) == (1, 0), "it waits like others"


def submission(state: SubmissionState = SubmissionState.RUNNING) -> Submission:
    now = utc_now()
    return Submission(
        1, "small", "me", state, 0, None, 0.0, now, now, None, "driver", now, False, 1, 7, "why",
        (), "",
    )  # fmt: skip


def with_reference(trial: Trial, seconds: float) -> Trial:
    reference = Measurement("reference_seconds", seconds, "s")
    measurements = {**trial.result.measurements, "reference_seconds": reference}
    return replace(trial, result=replace(trial.result, measurements=measurements))


def test_what_is_reported_of_a_search() -> None:
    study = replace(small_study(), budget=Budget(trials=2))
    trials = [finished_trial(0, study.baseline),
              finished_trial(1, study.baseline.with_values(precision="bf16"))]  # fmt: skip
    trials = [with_reference(trials[0], 1.0), with_reference(trials[1], 1.2)]
    now = trials[1].finished_at or utc_now()
    events = {
        event.name: event
        for event in search_events(submission(), Snapshot(study, trials), utc_now(), 1e9)
    }
    assert events.keys() == {EventName.FRONT, EventName.BUDGET, EventName.DRIFT}
    assert events[EventName.FRONT].details["front"] == [1]
    assert events[EventName.DRIFT].details == {"trial": 1, "slowdown": pytest.approx(1.2)}
    one = list(search_events(submission(), Snapshot(study, trials[:1]), now, 1e9))
    assert [event.name for event in one] == [EventName.FRONT]
    assert one[0].key != events[EventName.FRONT].key
    later = utc_now() + timedelta(hours=1)
    late = search_events(submission(), Snapshot(study, trials[:1]), later, 1800.0)
    assert EventName.STALLED in {event.name for event in late}


def test_ends_are_reported() -> None:
    (failed,) = end_events(submission(SubmissionState.FAILED))
    assert (failed.name, failed.details) == (EventName.FAILED, {"reason": "why"})
    assert [e.name for e in end_events(submission(SubmissionState.DONE))] == [EventName.DONE]
    assert not list(end_events(submission(SubmissionState.STOPPED)))


def test_the_monitor_posts_each_event_once(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    name = store_study(config.storage)
    studies, outbox = open_studies(config), Outbox(config.storage)
    queue = SubmissionQueue(config.storage)
    queue.submit(name, owner="me", text="")
    queue.claim("driver")
    queue.end(name, "driver", SubmissionState.DONE)
    monitor = Monitor(config, studies, outbox)
    assert monitor.step() == 0, "nobody wants to know"
    outbox.add_webhook("me", "http://127.0.0.1:9/", [])
    assert monitor.step() == 2, "done, and the front"
    assert monitor.step() == 0
    assert Monitor(config, studies, outbox).step() == 0, "nor another instance"
    for resource in (queue, outbox, studies.queue, studies.store):
        resource.close()


def test_a_study_that_is_submitted_again_is_reported_again(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    open_store(config.storage).close()
    studies, outbox = open_studies(config), Outbox(config.storage)
    outbox.add_webhook("me", "http://127.0.0.1:9/", [])
    monitor = Monitor(config, studies, outbox)
    counts = []
    for _ in range(2):
        studies.queue.submit("again", owner="me", text="")
        studies.queue.claim("driver")
        studies.queue.end("again", "driver", SubmissionState.DONE)
        counts.append(monitor.step())
        studies.queue.delete("again")
    assert counts == [1, 1]
    for resource in (outbox, studies.queue, studies.store):
        resource.close()


def test_webhooks_of_the_service(service: Service) -> None:
    from autotune.store.access import Role

    with service.http(Role.ADMIN) as http:
        created = http.post("/v1/webhooks", json={"url": "http://localhost:9/", "events": []})
        assert created.status_code == 201 and created.json()["secret"]
        assert all(hook["secret"] is None for hook in http.get("/v1/webhooks").json())
        unknown = http.post("/v1/webhooks", json={"url": "http://x/", "events": ["study.doen"]})
        assert unknown.status_code == 422 and "study.done" in unknown.json()["hint"]
        assert http.post("/v1/webhooks", json={"url": "file:///etc"}).status_code == 422
        assert http.delete(f"/v1/webhooks/{created.json()['id']}").status_code == 204
