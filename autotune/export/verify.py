"""``autotune verify``: run an exported folder for real and hold it to what the trial measured."""

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

from autotune.domain.metrics import METRICS, MetricKind
from autotune.errors import ExecutionError, UsageError
from autotune.measure import statistics

SPEED_TOLERANCE = 0.05
"""A speed within this share of the promise holds, however narrow the intervals are."""

LOG = "verify.log"

PATIENCE_SECONDS = 600.0
"""How long the command may take to start, build and judge, beside :data:`PATIENCE` times the
training time of the trial."""

PATIENCE = 10.0

WAITING: Mapping[str, Sequence[str]] = {"sbatch": ("--wait",)}
"""What makes a launcher return no sooner than what it has launched."""

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Check:
    """One promise. ``held`` where ``reached`` is not worse than ``promised`` by more than
    ``tolerance``, an absolute amount; a promise that is exceeded is held."""

    metric: str
    promised: float
    promised_ci95: Interval
    reached: float
    reached_ci95: Interval
    tolerance: float

    @property
    def held(self) -> bool:
        return self.reached >= self.promised - self.tolerance

    @property
    def ratio(self) -> float:
        """Reached over promised."""
        return self.reached / self.promised if self.promised else math.nan


def verify(directory: Path, runs: int = 1) -> list[Check]:
    """Launch the folder's own command ``runs`` times and compare.

    Speeds are compared in units of the reference workload that both the trial and the script time
    beside their steps, so that a machine that has become slower meets both alike. Raises
    :class:`UsageError` for a folder that cannot be run here, :class:`ExecutionError` where the
    command fails.
    """
    document = read_folder(directory)
    command = launchable(document["command"])
    promised: Mapping[str, Mapping[str, Any]] = document["measured"]
    trained = promised["train_seconds"]["value"] if "train_seconds" in promised else 0.0
    seconds = PATIENCE_SECONDS + PATIENCE * trained
    results = [_launched(directory, command, seconds) for _ in range(runs)]
    checks = [_speed(promised, results), *_scores(promised, results)]
    found = [check for check in checks if check is not None]
    if not found:
        raise UsageError(
            f"{directory}: the trial measured nothing that could be compared",
            hint="export a completed trial",
        )
    return found


def read_folder(directory: Path) -> Mapping[str, Any]:
    """``strategy.json`` of a folder that has a command to launch."""
    try:
        document: Mapping[str, Any] = json.loads((directory / "strategy.json").read_bytes())
        if document["command"]:
            return document
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(
        f"{directory} is no exported folder that can be run",
        hint="autotune export STUDY --to hf-trainer --output DIR writes one",
    )


def launchable(command: Sequence[str]) -> list[str]:
    """The command with its program found: beside this Python first, then on PATH."""
    program, *arguments = command
    arguments = [*WAITING.get(program, ()), *arguments]
    if program == "python":
        return [sys.executable, *arguments]
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.is_file() else shutil.which(program)
    if found is None:
        raise UsageError(
            f"{program} is not installed here, so the folder cannot be run",
            hint="pip install -r requirements.txt, in the folder, or verify where it is",
        )
    return [found, *arguments]


def _launched(directory: Path, command: Sequence[str], seconds: float) -> Mapping[str, Any]:
    """``metrics.json`` after one run, whose output goes to a log in the folder."""
    metrics = directory / "metrics.json"
    metrics.unlink(missing_ok=True)
    log = directory / LOG
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
            # Launchers start processes of their own, which would outlive them.
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
    found: Mapping[str, Any] = json.loads(metrics.read_bytes())
    return found


def _speed(
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
    value, ends = _promise(promised[name])
    spread = math.hypot(_half(ends) / value, _half(reached[1]) / reached[0])
    return Check(name, value, ends, *reached, value * max(SPEED_TOLERANCE, spread))


def _scores(
    promised: Mapping[str, Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> list[Check]:
    """Scores on validation of the last run; of ``accuracy``, the lower end of its interval holds
    the promise."""
    found: Mapping[str, Mapping[str, Any]] = results[-1]["validation"]
    checks = []
    shares = [m.name for m in METRICS.values() if m.kind is MetricKind.SHARE]
    for name in shares:
        if name in promised and name in found:
            value, ends = _promise(promised[name])
            tolerance = value - ends[0] if ends else 0.0
            checks.append(Check(name, value, ends, *_promise(found[name]), tolerance))
    return checks


def _promise(record: Mapping[str, Any]) -> tuple[float, Interval]:
    ends = record["ci95"]
    return record["value"], (ends[0], ends[1]) if ends else None


def _half(ends: Interval) -> float:
    return 0.0 if ends is None else (ends[1] - ends[0]) / 2


def _product(first: statistics.Estimate, second: statistics.Estimate) -> tuple[float, Interval]:
    """Two independent estimates multiplied; their relative half-widths add in quadrature."""
    value = first[0] * second[0]
    spread = math.hypot(_half(first[1]) / first[0], _half(second[1]) / second[0])
    return value, (value * (1 - spread), value * (1 + spread)) if spread else None
