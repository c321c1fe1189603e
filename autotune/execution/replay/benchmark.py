"""`TabularBenchmark`: the recorded results of every strategy of a grid.

A recording is one Parquet file with a row for each trial: settings, seed, state, measurements with
their intervals, seconds of each phase, and the learning curve. ``benchmarks/landscapes/record.py``
writes such files; :class:`~autotune.execution.replay.executor.ReplayExecutor` runs searches
against them. Study files call a recording a ``landscape``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autotune.domain import CurvePoint, Host, Measurement, State, Strategy, Value, WorkloadProfile
from autotune.domain.metrics import METRICS
from autotune.errors import DataError, NotFoundError

RECORD_HINT = "benchmarks/landscapes/README.md says how to record one"
HEADER = b"autotune"
"""Key of the JSON document in the file's metadata: format, study file, environment, workload."""

FORMAT = 2

_PHASE_PREFIX = "phase: "


@dataclass(frozen=True)
class Record:
    """One recorded trial.

    ``phases`` holds the seconds of each phase by name; ``seconds`` is the whole trial, with the
    start of its process.
    """

    strategy: Strategy
    seed: int
    origin: str
    state: State
    seconds: float
    failure: str | None = None
    reason: str | None = None
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class TabularBenchmark:
    """All records of one grid.

    ``spec`` is the text of the study file that was recorded, ``environment`` the hardware and
    software, ``workload`` the sizes of model and data.
    """

    name: str
    records: tuple[Record, ...]
    spec: str
    environment: Mapping[str, Any]
    workload: WorkloadProfile | None = None

    @cached_property
    def host(self) -> Host:
        """The host on which the trials ran."""
        return TypeAdapter(Host).validate_python(self.environment["hardware"])

    @cached_property
    def levers(self) -> tuple[str, ...]:
        """The levers that differ between records."""
        settings: dict[str, set[Value]] = {}
        for record in self.records:
            for lever, value in record.strategy.values.items():
                settings.setdefault(lever, set()).add(value)
        return tuple(lever for lever, values in settings.items() if len(values) > 1)

    def find(self, strategy: Strategy, seed: int) -> Record | None:
        """The record of ``strategy`` with ``seed``. Levers that are newer than the recording are
        ignored."""
        return self._index.get((self._key(strategy), seed))

    @cached_property
    def _index(self) -> dict[tuple[tuple[str, ...], int], Record]:
        return {(self._key(r.strategy), r.seed): r for r in reversed(self.records)}

    @cached_property
    def _recorded_levers(self) -> tuple[str, ...]:
        return tuple(self.records[0].strategy)

    def _key(self, strategy: Strategy) -> tuple[str, ...]:
        return tuple(repr(strategy.values.get(lever)) for lever in self._recorded_levers)


def read(path: str | Path) -> TabularBenchmark:
    """Read a recording from a Parquet file.

    :raises NotFoundError: if there is no such file.
    :raises DataError: if it is no recording, or one of another format.
    """
    import pyarrow
    from pyarrow import parquet

    path = Path(path)
    try:
        table = parquet.read_table(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no landscape {path}", hint=RECORD_HINT) from error
    except (OSError, pyarrow.ArrowException) as error:
        message = f"{path} cannot be read as Parquet: {error}"
        raise DataError(message, hint=RECORD_HINT) from error
    try:
        header = json.loads((table.schema.metadata or {}).get(HEADER, b"{}"))
        if header.get("format") != FORMAT:
            raise DataError(f"{path} holds no landscape of format {FORMAT}", hint=RECORD_HINT)
        return _benchmark(header, table.to_pylist())
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        message = f"{path}: a damaged landscape: {type(error).__name__}: {error}"
        raise DataError(message, hint=RECORD_HINT) from error


def _benchmark(header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> TabularBenchmark:
    workload = header.get("workload")
    benchmark = TabularBenchmark(
        name=header["name"],
        records=tuple(_record(row) for row in rows),
        spec=header["spec"],
        environment=header["environment"],
        workload=None if workload is None else WorkloadProfile(**workload),
    )
    if not benchmark.records:
        raise ValueError("it has no trials")
    for number, record in enumerate(benchmark.records, 1):
        times = (record.seconds, *record.phases.values())
        if not all(seconds is None or 0 <= seconds < math.inf for seconds in times):
            raise ValueError(f"row {number}: a time is negative or not finite")
    _ = benchmark.host, benchmark.find(benchmark.records[0].strategy, 0)  # both can be damaged
    return benchmark


def write(benchmark: TabularBenchmark, path: str | Path) -> None:
    """Write a recording as Parquet, a few hundred bytes a row."""
    import pyarrow
    from pyarrow import parquet

    header = {
        "format": FORMAT,
        "name": benchmark.name,
        "spec": benchmark.spec,
        "environment": benchmark.environment,
        "workload": None if benchmark.workload is None else asdict(benchmark.workload),
    }
    rows = [_row(record, benchmark.levers) for record in benchmark.records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    arrays = {name: _column([row.get(name) for row in rows]) for name in columns}
    metadata = {HEADER: json.dumps(header, sort_keys=True).encode()}
    table = pyarrow.table(arrays).replace_schema_metadata(metadata)
    parquet.write_table(table, path, compression="zstd")


def _row(record: Record, levers: Sequence[str]) -> dict[str, Any]:
    """A record as columns: levers and metrics by name, and ``strategy`` with every setting."""
    row: dict[str, Any] = {lever: record.strategy[lever] for lever in levers}
    row |= {
        "strategy": json.dumps(dict(record.strategy.values)),
        "seed": record.seed,
        "origin": record.origin,
        "state": record.state.value,
        "failure": record.failure,
        "reason": record.reason,
        "seconds": record.seconds,
    }
    row |= {f"{_PHASE_PREFIX}{name}": seconds for name, seconds in record.phases.items()}
    for name, measurement in record.measurements.items():
        low, high = measurement.ci95 or (None, None)
        row |= {
            name: measurement.value,
            f"{name} low": low,
            f"{name} high": high,
            f"{name} n": measurement.n,
        }
    row["curve"] = [
        asdict(point) | {"metrics": [{"name": n, "value": v} for n, v in point.metrics.items()]}
        for point in record.curve
    ]
    return row


def _column(values: list[Any]) -> list[Any]:
    """``values`` as one type: a lever with both text and numbers becomes text."""
    if len({isinstance(value, str) for value in values if value is not None}) < 2:
        return values
    return [None if value is None else str(value) for value in values]


def _record(row: Mapping[str, Any]) -> Record:
    measured = [name for name in METRICS if row.get(name) is not None]
    return Record(
        strategy=Strategy(json.loads(row["strategy"])),
        seed=row["seed"],
        origin=row["origin"],
        state=State(row["state"]),
        seconds=row["seconds"],
        failure=row["failure"],
        reason=row["reason"],
        measurements={name: _measurement(row, name) for name in measured},
        phases={
            name.removeprefix(_PHASE_PREFIX): seconds
            for name, seconds in row.items()
            if name.startswith(_PHASE_PREFIX) and seconds is not None
        },
        curve=tuple(_point(point) for point in row["curve"]),
    )


def _point(point: Mapping[str, Any]) -> CurvePoint:
    scores = {score["name"]: score["value"] for score in point["metrics"]}
    return CurvePoint(**{**point, "metrics": scores})


def _measurement(row: Mapping[str, Any], name: str) -> Measurement:
    low, high = row[f"{name} low"], row[f"{name} high"]
    ci95 = None if low is None or high is None else (low, high)
    return Measurement(name, row[name], METRICS[name].unit, row[f"{name} n"], ci95)
