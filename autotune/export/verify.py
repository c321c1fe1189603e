"""``autotune verify``: runs an exported folder and compares its results with those of the trial."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.domain.metrics import METRICS as METRIC_RECORDS
from autotune.domain.metrics import MetricKind
from autotune.domain.text import one_line
from autotune.errors import ExecutionError, UsageError
from autotune.export.checksums import changed_files
from autotune.export.directory import METRICS, VERIFY_LOG, remove, require_no_folder
from autotune.measure import statistics

SPEED_TOLERANCE = 0.05
"""Allowed relative loss of speed, however narrow the confidence intervals are."""

MIN_TIMEOUT_SECONDS = 600.0
"""Time for start, model set-up and evaluation."""

TIMEOUT_FACTOR = 10.0
"""Additional time, in multiples of the trial's training time."""

MAX_NAMES = 5
"""Changed files that a message names."""

MAX_MAGNITUDE = 1e100
"""Larger numbers are no measurements, and their squares overflow."""

WAIT_OPTIONS: Mapping[str, Sequence[str]] = {"sbatch": ("--wait",)}
"""Options that make a launcher wait for the job that it launches."""

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Check:
    """A metric of the trial (``promised``) against that of the export (``reached``).

    The check passes if ``reached`` is at least ``promised`` minus ``tolerance`` (absolute).
    """

    metric: str
    promised: float
    promised_ci95: Interval
    reached: float
    reached_ci95: Interval
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.reached >= self.promised - self.tolerance

    @property
    def ratio(self) -> float:
        """``reached`` divided by ``promised``."""
        return self.reached / self.promised if self.promised else math.nan


def verify(directory: Path, runs: int = 1) -> list[Check]:
    """Launch the folder's own command ``runs`` times and compare.

    Speeds are relative to the reference workload that both the trial and the script time during
    training, so that a change of the machine's speed does not matter. Raises :class:`UsageError`
    for a folder that cannot be run here, :class:`ExecutionError` if the command fails.
    """
    document = read_folder(directory)
    command = launchable(document["command"])
    promised: Mapping[str, Mapping[str, Any]] = document["measured"]
    train_seconds = promised["train_seconds"]["value"] if "train_seconds" in promised else 0.0
    seconds = MIN_TIMEOUT_SECONDS + TIMEOUT_FACTOR * train_seconds
    results = [_launch(directory, command, seconds) for _ in range(runs)]
    checks = compare(promised, results)
    if not checks:
        raise UsageError(
            f"{directory}: the trial has no metric that can be compared",
            hint="export a completed trial",
        )
    return checks


def require_unchanged(directory: Path) -> None:
    """Raise :class:`UsageError` if files of the export have changed or code was added."""
    changed = changed_files(directory)
    if changed:
        names = ", ".join(map(one_line, changed[:MAX_NAMES]))
        more = f" and {len(changed) - MAX_NAMES} more" if len(changed) > MAX_NAMES else ""
        raise UsageError(
            f"{directory} has changed since the export, and verify runs its command: {names}{more}",
            hint=f"read the changes, then: autotune verify --allow-changes {directory}",
        )


def read_folder(directory: Path) -> Mapping[str, Any]:
    """``strategy.json`` of a folder with a command to launch."""
    document: Any = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        document = json.loads((directory / "strategy.json").read_bytes())
    if isinstance(document, dict) and _is_command(document.get("command")):
        require_records(directory / "strategy.json", "measured", document.get("measured"))
        return document
    raise UsageError(
        f"{directory} is not an exported folder with a script",
        hint="autotune export STUDY --to hf-trainer --output DIR writes one",
    )


def _is_command(command: Any) -> bool:
    words = command if isinstance(command, list) else []
    return bool(words) and all(isinstance(w, str) and w and "\0" not in w for w in words)


def require_records(path: Path, section: str, records: Any) -> None:
    """Raise :class:`UsageError` unless ``records``, of a ``section`` of the file ``path``, are
    measurements by metric."""
    if not isinstance(records, dict):
        raise UsageError(f"{path}: {section} is not a mapping of metrics", hint="export again")
    for name, record in records.items():
        fields = record if isinstance(record, dict) else {}
        ends = fields.get("ci95")
        pair = ends if isinstance(ends, list) and len(ends) == 2 else []
        place = f"{path}: {section}.{one_line(name)}"
        if not _is_number(fields.get("value")) or (ends is not None and not pair):
            raise UsageError(f"{place} has no value", hint="export again")
        if not all(map(_is_number, pair)):
            raise UsageError(f"{place}.ci95 is not two numbers", hint="export again")


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= MAX_MAGNITUDE  # false for NaN


def launchable(command: Sequence[str]) -> list[str]:
    """``command`` with the full path of its program: next to this Python first, then on PATH."""
    program, *arguments = command
    arguments = [*WAIT_OPTIONS.get(program, ()), *arguments]
    if program == "python":
        return [sys.executable, *arguments]
    sibling = Path(sys.executable).parent / program
    path = str(sibling) if sibling.is_file() else shutil.which(program)
    if path is None:
        raise UsageError(
            f"{program} is not installed here, so the folder cannot be run",
            hint="run pip install -r requirements.txt in the folder",
        )
    return [path, *arguments]


def _launch(directory: Path, command: Sequence[str], seconds: float) -> Mapping[str, Any]:
    """Run the command once, with its output in a log in the folder; return ``metrics.json``."""
    metrics = directory / METRICS
    log = directory / VERIFY_LOG
    for path in (metrics, log):
        require_no_folder(path)
        remove(path)  # never written through a link
    environment = {**os.environ, "TUNED_REFERENCE": "1"}
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ExecutionError(
                f"the exported command was still running after {seconds / 60:.0f} minutes",
                hint=f"its output is in {log}",
            ) from error
        finally:
            # Launchers start further processes, which would survive them.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0 or not metrics.is_file():
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else "no output"
        raise ExecutionError(
            f"the exported command ended with code {code}: {last}",
            hint=f"its output is in {log}",
        )
    return read_metrics(metrics)


def read_metrics(path: Path) -> Mapping[str, Any]:
    """``metrics.json`` of a run. Raises :class:`ExecutionError` if it lacks what is compared."""
    try:
        document: Mapping[str, Any] = json.loads(path.read_bytes())
        windows = document["windows"]
        speeds = [window["examples"] / window["seconds"] for window in windows]
        lengths = [window["seconds"] for window in windows]
        numbers = [*speeds, *lengths, *document["reference_seconds"]]
        has_flags = all(isinstance(window["warmup"], bool) for window in windows)
        if speeds and has_flags and all(_is_number(number) and number > 0 for number in numbers):
            require_records(path, "validation", document["validation"])
            return document
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        pass
    except UsageError as error:
        raise ExecutionError(error.message) from error
    raise ExecutionError(
        f"{path} has no speeds and scores of a run", hint=f"read {path.parent / VERIFY_LOG}"
    )


def compare(
    promised: Mapping[str, Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> list[Check]:
    """The checks of the speed and of each score that both the trial and the runs have."""
    speed = _check_speed(promised, results)
    return [*([speed] if speed is not None else []), *_check_scores(promised, results)]


def _check_speed(
    promised: Mapping[str, Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> Check | None:
    windows = [w for result in results for w in result["windows"] if not w["warmup"]]
    windows = windows or [w for result in results for w in result["windows"]]
    rate = statistics.rate([w["examples"] for w in windows], [w["seconds"] for w in windows])
    reference = [seconds for result in results for seconds in result["reference_seconds"]]
    name, reached = "train_samples_per_second", rate
    if "relative_speed" in promised and reference:
        name, reached = "relative_speed", _product(rate, statistics.median(reference))
    if name not in promised:
        return None
    value, ends = estimate(promised[name])
    if value <= 0:
        return None
    spread = math.hypot(_half_width(ends) / value, _half_width(reached[1]) / reached[0])
    return Check(name, value, ends, *reached, value * max(SPEED_TOLERANCE, spread))


def _check_scores(
    promised: Mapping[str, Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> list[Check]:
    """Scores of the last run on validation. The tolerance is the lower half of the interval."""
    reached: Mapping[str, Mapping[str, Any]] = results[-1]["validation"]
    checks = []
    shares = [m.name for m in METRIC_RECORDS.values() if m.kind is MetricKind.SHARE]
    for name in shares:
        if name in promised and name in reached:
            value, ends = estimate(promised[name])
            tolerance = value - ends[0] if ends else 0.0
            checks.append(Check(name, value, ends, *estimate(reached[name]), tolerance))
    return checks


def estimate(record: Mapping[str, Any]) -> tuple[float, Interval]:
    """The value of a measurement in a file, and its interval."""
    ends = record.get("ci95")
    return record["value"], (ends[0], ends[1]) if ends else None


def _half_width(ends: Interval) -> float:
    return 0.0 if ends is None else (ends[1] - ends[0]) / 2


def _product(first: statistics.Estimate, second: statistics.Estimate) -> tuple[float, Interval]:
    """Two independent estimates multiplied; their relative half-widths add in quadrature."""
    value = first[0] * second[0]
    spread = math.hypot(_half_width(first[1]) / first[0], _half_width(second[1]) / second[0])
    return value, (value * (1 - spread), value * (1 + spread)) if spread else None
