"""Latency of a driver with PostgreSQL, many workers and many trials that do nothing.

A simulated executor keeps ``--workers`` trials running and ends them in random order, so that all
time is spent in asking, storing and telling. The full size is

    python benchmarks/scale.py --workers 1000 --trials 50000 --plot docs/images/scale.svg

The default is a tenth of the workers and a fiftieth of the trials; it takes about a minute. Without
``--storage URL`` a PostgreSQL server is started for the run; its ``fsync`` is off.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from autotune.domain import (
    Budget,
    Completed,
    CurvePoint,
    Device,
    Dimension,
    Host,
    Job,
    Measurement,
    Objective,
    Outcome,
    Range,
    SamplerConfig,
    SearchSpace,
    Study,
    Task,
    Trial,
    TrialResult,
    WorkloadProfile,
)
from autotune.levers import defaults
from autotune.ports import Ask, Clock, Evaluate, Report, ShouldStop, Tell
from autotune.store import open_driver_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.store.postgres_server import server_programs, temporary_server

HOST = Host("simulated", (0, 1), 2, 8.0, devices=(Device("cpu", "cpu"),))
SAMPLES = tuple(200.0 + n for n in range(10))
MIB = 2**20


@dataclass(frozen=True)
class Segment:
    """The cost of one tenth of the search. Latencies are in milliseconds."""

    trials: int
    ask_ms: float
    ask_p95_ms: float
    tell_ms: float
    tell_p95_ms: float
    cpu_seconds_per_100: float
    database_mib: float


class SilentObserver:
    """An observer that does nothing."""

    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...
    def finished(self, trial: Trial) -> None: ...


class SimulatedExecutor:
    """An executor without workers: jobs end in random order."""

    clock: Clock | None = None
    workload: WorkloadProfile | None = None

    def __init__(
        self,
        workers: int,
        trials: int,
        size: Callable[[], float],
        show: Callable[[Segment], None],
    ) -> None:
        self._workers, self._size, self._show = workers, size, show
        self._segment_size = max(trials // 10, 1)
        self._asks: list[float] = []
        self._tells: list[float] = []
        self._cpu = time.process_time()
        self._rng = random.Random(0)
        self.finished = 0
        self.segments: list[Segment] = []

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        running: list[Job] = []
        while True:
            job = self._timed(self._asks, ask) if len(running) < self._workers else None
            if job is not None:
                running.append(job)
                continue
            if not running:
                return
            ended = running.pop(self._rng.randrange(len(running)))
            outcome = evaluate(ended, lambda point: None)
            self._timed(self._tells, tell, ended, outcome)
            self._count()

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def stop(self) -> None: ...
    def close(self) -> None: ...

    def _timed(self, times: list[float], action: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = action(*args)
        times.append(1000 * (time.perf_counter() - start))
        return result

    def _count(self) -> None:
        self.finished += 1
        if self.finished % self._segment_size:
            return
        cpu = time.process_time()
        self.segments.append(
            Segment(
                self.finished,
                median(self._asks or [0.0]),
                _p95(self._asks),
                median(self._tells),
                _p95(self._tells),
                100 * (cpu - self._cpu) / self._segment_size,
                self._size(),
            )
        )
        self._show(self.segments[-1])
        self._asks, self._tells, self._cpu = [], [], cpu


def _p95(times: Sequence[float]) -> float:
    return quantiles(times, n=20)[-1] if len(times) > 1 else 0.0


def fake_trial(job: Job, report: Report) -> Outcome:
    """The result of a small fine-tune."""
    rate = float(job.strategy["learning_rate"])
    measurements = {
        "accuracy": Measurement("accuracy", 1 - rate, "ratio", 400, (0.3, 0.4)),
        "train_samples_per_second": Measurement(
            "train_samples_per_second", 200 + 1 / rate, "1/s", 10, (190.0, 210.0), SAMPLES
        ),
        "cost_usd": Measurement("cost_usd", rate, "USD"),
    }
    curve = tuple(CurvePoint(n, 10, 8 * n, float(n), 1.0 / n) for n in range(1, 11))
    return Completed(
        TrialResult(measurements, curve, memory=tuple((float(n), 0.3) for n in range(20)))
    )


def study(trials: int, sampler: str) -> Study:
    return Study(
        name="scale",
        task=Task(),
        objectives=(Objective("accuracy", "maximize"), Objective("cost_usd", "minimize")),
        space=SearchSpace(
            (
                Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
                Dimension("dropout", Range(0.0, 0.5)),
                Dimension("batch_size", Range(1, 512, integer=True)),
            ),
            defaults(HOST),
        ),
        budget=Budget(trials=trials),
        sampler=SamplerConfig(sampler),
    )


@contextmanager
def storage(url: str | None) -> Iterator[str]:
    """The URL of a database; without ``url`` that of a server for this run."""
    if url is not None:
        yield url
        return
    programs = server_programs()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql, or --storage")
    with temporary_server(programs) as server:
        yield server.url("postgres")


def measure(
    url: str, workers: int, trials: int, sampler: str, show: Callable[[Segment], None]
) -> list[Segment]:
    """Run a search and measure it in ten segments; ``show`` is called after each."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:

        def size() -> float:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return float(row[0]) / MIB

        with tempfile.TemporaryDirectory() as folder:
            store = open_driver_store(url, Path(folder))
            scale_study = replace(study(trials, sampler), name=f"scale-{time.time_ns()}")
            store.create_study(scale_study, {})
            executor = SimulatedExecutor(workers, trials, size, show)
            tuner = make_tuner(
                scale_study, store, make_sampler(scale_study), executor, HOST,
                directory=Path(folder), observer=SilentObserver(),
            )  # fmt: skip
            tuner.run(fake_trial)
            store.close()
    return executor.segments


def plot(segments: Sequence[Segment], title: str) -> str:
    """Three charts over the number of trials, as SVG."""
    charts = [
        ("ask, ms (median, 95%)", ["ask_ms", "ask_p95_ms"]),
        ("tell, ms (median, 95%)", ["tell_ms", "tell_p95_ms"]),
        ("database, MiB", ["database_mib"]),
    ]
    parts = [f'<text x="10" y="20" font-size="14">{title}</text>']
    for index, (name, fields) in enumerate(charts):
        top = max(getattr(s, field) for s in segments for field in fields) or 1.0
        left = 50 + 290 * index
        parts.append(f'<text x="{left}" y="48">{name}</text>')
        parts.append(f'<path d="M{left} 60V220H{left + 220}" fill="none" stroke="#888"/>')
        parts.append(f'<text x="{left - 6}" y="66" text-anchor="end">{top:.0f}</text>')
        parts.append(f'<text x="{left - 6}" y="222" text-anchor="end">0</text>')
        last = segments[-1].trials
        parts.append(f'<text x="{left + 220}" y="238" text-anchor="end">{last:,} trials</text>')
        for field, colour in zip(fields, ("#1f77b4", "#ff7f0e"), strict=False):
            points = " ".join(
                f"{left + 220 * s.trials / last:.1f},{220 - 160 * getattr(s, field) / top:.1f}"
                for s in segments
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
    body = "\n".join(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 250" '
        f'font-family="sans-serif" font-size="11">\n{body}\n</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="random", help="random, qmc, nsga2 or tpe")
    parser.add_argument("--storage", help="URL of an empty PostgreSQL database")
    parser.add_argument("--plot", type=Path, help="SVG to write")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends with the run
    show = ignore if options.json else line
    if not options.json:
        print("trials   ask ms   (95%)  tell ms   (95%)  CPU s/100  database MiB", flush=True)
    with storage(options.storage) as url:
        segments = measure(url, options.workers, options.trials, options.sampler, show)
    if options.plot:
        title = f"{options.workers:,} workers, {options.sampler} sampler"
        options.plot.write_text(plot(segments, title), encoding="utf-8")
    if options.json:
        print(json.dumps([asdict(segment) for segment in segments], indent=1))


def line(s: Segment) -> None:
    """Print one segment."""
    print(f"{s.trials:6} {s.ask_ms:8.1f} {s.ask_p95_ms:7.1f} {s.tell_ms:8.1f}", end=" ")
    print(f"{s.tell_p95_ms:7.1f} {s.cpu_seconds_per_100:10.2f} {s.database_mib:13.1f}", flush=True)


def ignore(s: Segment) -> None:
    """Print nothing."""


if __name__ == "__main__":
    main()
