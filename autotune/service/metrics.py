"""Figures for Prometheus, read from the store when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from autotune.analysis.drift import REFERENCE
from autotune.domain import State, Trial
from autotune.domain.clock import utc_now
from autotune.errors import AutotuneError
from autotune.service.dispatcher import Dispatcher
from autotune.service.events import ChangeFeed
from autotune.service.studies import Studies
from autotune.store.outbox import Outbox
from autotune.store.submissions import Submission, SubmissionState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class RequestMetrics:
    """Counts requests and their seconds by method, route and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self._requests = Counter("autotune_requests", "Requests", labels, registry=registry)
        self._seconds = Histogram(
            "autotune_request_seconds", "Time to answer", labels[:2], buckets=BUCKETS,
            registry=registry,
        )  # fmt: skip

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class StoreCollector(Collector):
    """Queue, trials, running studies and the latency of the store."""

    def __init__(
        self, studies: Studies, dispatcher: Dispatcher, feed: ChangeFeed, outbox: Outbox
    ) -> None:
        self._studies, self._dispatcher = studies, dispatcher
        self._feed, self._outbox = feed, outbox

    def describe(self) -> list[Any]:
        return []  # nothing is read when the collector is registered

    def collect(self) -> Iterator[GaugeMetricFamily]:
        start = time.perf_counter()
        counts = self._studies.queue.count_by_state()
        latency = time.perf_counter() - start
        yield _gauge("store_seconds", "Time of one query of the store", latency)
        yield _labelled("studies", "Studies of the queue by state", "state", counts)
        waiting = [
            s for s in self._studies.queue.submissions() if s.state is SubmissionState.QUEUED
        ]
        oldest = max((_age(submission) for submission in waiting), default=0.0)
        yield _gauge("queue_oldest_seconds", "Age of the oldest study that waits", oldest)
        yield _gauge("drivers", "Drivers of this instance", self._dispatcher.running)
        yield _gauge("watchers", "Connections that watch a study", self._feed.watchers)
        yield _gauge("webhook_messages", "Messages to deliver", self._outbox.count_waiting())
        trials = self._studies.queue.count_all_trials()
        yield _labelled("trials", "Trials of all studies by state", "state", trials)
        yield from self._running_studies()

    def _running_studies(self) -> Iterator[GaugeMetricFamily]:
        names = ("trial_seconds", "peak_memory_gib", REFERENCE)
        texts = ("Duration", "Peak memory in GiB", "Time of the reference workload")
        families = [
            GaugeMetricFamily(f"autotune_last_{name}", f"{text}: last trial", labels=["study"])
            for name, text in zip(names, texts, strict=True)
        ]
        for submission in self._studies.queue.submissions():
            if submission.state is not SubmissionState.RUNNING:
                continue
            trial = self._last_trial(submission.study)
            if trial is None:
                continue
            values = (trial.seconds, trial.metric("peak_memory_gib"), trial.metric(REFERENCE))
            for family, value in zip(families, values, strict=True):
                if value is not None:
                    family.add_metric([submission.study], value)
        yield from families

    def _last_trial(self, study: str) -> Trial | None:
        try:
            trials = self._studies.snapshot(study).trials
        except AutotuneError:  # not stored yet, or damaged
            return None
        complete = [trial for trial in trials if trial.state is State.COMPLETE]
        return complete[-1] if complete else None


def make_registry() -> CollectorRegistry:
    """A registry with the figures of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def write_metrics(registry: CollectorRegistry) -> bytes:
    """All figures in the text format of Prometheus."""
    return generate_latest(registry)


def _age(submission: Submission) -> float:
    return (utc_now() - submission.submitted_at).total_seconds()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"autotune_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: Any) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"autotune_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family
