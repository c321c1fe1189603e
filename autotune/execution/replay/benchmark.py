"""A recorded landscape: what every strategy of a grid did when it was really run.

One Parquet file holds one row a trial: the settings, the seed, how it ended, every measurement with
its interval, the seconds of each phase and the learning curve. ``benchmarks/landscapes`` records
them; :class:`~autotune.execution.replay.executor.ReplayExecutor` runs searches against them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autotune.domain import CurvePoint, Host, Measurement, State, Strategy, Value, WorkloadProfile
from autotune.domain.metrics import METRICS
from autotune.errors import DataError, NotFoundError

HEADER = b"autotune"
"""Key of the file's metadata, a JSON document: format, study file, environment."""

FORMAT = 1

_PHASE = "phase: "


@dataclass(frozen=True)
class Record:
    """One trial as it went. ``phases`` holds seconds by the phase's name; ``seconds`` is the whole
    of it, with the start of its process."""

    strategy: Strategy
    seed: int
    origin: str
    state: State
    seconds: float
    kind: str | None = None
    reason: str | None = None
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class TabularBenchmark:
    """All records of one grid. ``spec`` is the text of the study file that was recorded,
    ``environment`` what it ran on, ``anatomy`` what model and data measure."""

    name: str
    records: tuple[Record, ...]
    spec: str
    environment: Mapping[str, Any]
    anatomy: WorkloadProfile | None = None

    @cached_property
    def host(self) -> Host:
        """The machine that the landscape was recorded on."""
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
        """The record of ``strategy`` under ``seed``. A lever that the recording did not know yet
        does not count."""
        return self._index.get((self._place(strategy), seed))

    @cached_property
    def _index(self) -> dict[tuple[Any, int], Record]:
        return {(self._place(r.strategy), r.seed): r for r in reversed(self.records)}

    @cached_property
    def _known(self) -> tuple[str, ...]:
        return tuple(self.records[0].strategy)

    def _place(self, strategy: Strategy) -> tuple[str, ...]:
        return tuple(repr(strategy.values.get(lever)) for lever in self._known)


def read(path: str | Path) -> TabularBenchmark:
    """The landscape in a Parquet file.

    :raises NotFoundError: there is no such file.
    :raises DataError: it is no landscape, or of a later format.
    """
    import pyarrow
    from pyarrow import parquet

    path = Path(path)
    try:
        table = parquet.read_table(path)
    except FileNotFoundError as error:
        hint = "benchmarks/landscapes/README.md says how to record one"
        raise NotFoundError(f"there is no landscape {path}", hint=hint) from error
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    header = json.loads((table.schema.metadata or {}).get(HEADER, b"{}"))
    if header.get("format") != FORMAT:
        raise DataError(f"{path} holds no landscape of format {FORMAT}")
    records = tuple(_record(row) for row in table.to_pylist())
    anatomy = header.get("anatomy")
    return TabularBenchmark(
        header["name"], records, header["spec"], header["environment"],
        None if anatomy is None else WorkloadProfile(**anatomy),
    )  # fmt: skip


def write(landscape: TabularBenchmark, path: str | Path) -> None:
    """Write a landscape as Parquet, a few hundred bytes a row."""
    import pyarrow
    from pyarrow import parquet

    header = {
        "format": FORMAT,
        "name": landscape.name,
        "spec": landscape.spec,
        "environment": landscape.environment,
        "anatomy": None if landscape.anatomy is None else asdict(landscape.anatomy),
    }
    rows = [_row(record, landscape.levers) for record in landscape.records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    arrays = {name: _column([row.get(name) for row in rows]) for name in columns}
    metadata = {HEADER: json.dumps(header, sort_keys=True).encode()}
    table = pyarrow.table(arrays).replace_schema_metadata(metadata)
    parquet.write_table(table, path, compression="zstd")


def _row(record: Record, levers: Sequence[str]) -> dict[str, Any]:
    """A record as columns: levers and metrics by their names, ``strategy`` with every setting."""
    row: dict[str, Any] = {lever: record.strategy[lever] for lever in levers}
    row |= {
        "strategy": json.dumps(dict(record.strategy.values)),
        "seed": record.seed,
        "origin": record.origin,
        "state": record.state.value,
        "kind": record.kind,
        "reason": record.reason,
        "seconds": record.seconds,
    }
    row |= {f"{_PHASE}{name}": seconds for name, seconds in record.phases.items()}
    for name, found in record.measurements.items():
        low, high = found.ci95 or (None, None)
        row |= {name: found.value, f"{name} low": low, f"{name} high": high, f"{name} n": found.n}
    row["curve"] = [
        asdict(point) | {"metrics": [{"name": n, "value": v} for n, v in point.metrics.items()]}
        for point in record.curve
    ]
    return row


def _column(values: list[Any]) -> list[Any]:
    """``values`` as one type: a lever that takes both words and numbers becomes text."""
    if len({isinstance(value, str) for value in values if value is not None}) < 2:
        return values
    return [None if value is None else str(value) for value in values]


def _record(row: Mapping[str, Any]) -> Record:
    measured = {name: _measurement(row, name) for name in METRICS if row.get(name) is not None}
    phases = {name: value for name, value in row.items() if name.startswith(_PHASE)}
    return Record(
        Strategy(json.loads(row["strategy"])),
        row["seed"],
        row["origin"],
        State(row["state"]),
        row["seconds"],
        row["kind"],
        row["reason"],
        measured,
        {name.removeprefix(_PHASE): value for name, value in phases.items() if value is not None},
        tuple(_point(point) for point in row["curve"]),
    )


def _point(point: Mapping[str, Any]) -> CurvePoint:
    scores = {score["name"]: score["value"] for score in point["metrics"]}
    return CurvePoint(**{**point, "metrics": scores})


def _measurement(row: Mapping[str, Any], name: str) -> Measurement:
    low, high = row[f"{name} low"], row[f"{name} high"]
    ci95 = None if low is None or high is None else (low, high)
    return Measurement(name, row[name], METRICS[name].unit, row[f"{name} n"], ci95)
