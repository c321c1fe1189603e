"""Measures how an artifact serves, in a process of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune import errors
from autotune.deployment import probe
from autotune.deployment.environment import module_environment, run_python
from autotune.deployment.inputs import EncodedText
from autotune.deployment.predictor import Logits
from autotune.deployment.settings import DeploymentSettings
from autotune.domain import Measurement
from autotune.errors import ExecutionError, OutOfMemory
from autotune.measure import statistics

Score = Callable[[Sequence[Logits]], Mapping[str, Measurement]]
"""The scores of the logits of all texts, in their order."""

SPEED = "deployed_samples_per_second"

REFERENCE_CALLS = 3
"""Timings of the drift reference before serving is measured, and after."""

SIGKILL = -9
MB = 10**6
MAX_LOG_CHARACTERS = 2000


@dataclass(frozen=True)
class Serving:
    """What a process that serves an artifact showed. ``windows`` are (texts, seconds) after the
    warm-up, ``latencies_ms`` those of single texts after the warm-up."""

    load_seconds: float
    latencies_ms: tuple[float, ...]
    warmup_ms: tuple[float, ...]
    windows: tuple[tuple[int, float], ...]
    peak_bytes: int | None
    logits: list[Logits]


def measure(
    artifact: Path,
    examples: Sequence[EncodedText],
    score: Score,
    settings: DeploymentSettings,
    gpu: int | None = None,
) -> Mapping[str, Measurement]:
    """Measurements of the artifact for the encoded texts ``examples``, by metric. ``gpu`` is the
    index of the GPU that serves, for runtimes that need one.

    - ``latency_p50_ms``, ``latency_p95_ms``, ``latency_p99_ms``: at batch size
      1 over the lengths of the examples, without padding
    - ``deployed_samples_per_second``: in batches of the settings
    - ``deployed_relative_speed``: the same in units of the drift reference
    - ``serving_memory_mb``: peak of the process that serves
    - ``load_seconds``: from the import of the runtime to the first prediction
    - ``size_mb``: all files
    - what ``score`` returns for the logits of the artifact, as deployed

    Raises :class:`ExecutionError` with the output of the process if it fails, and the error of the
    runtime if it cannot run the artifact.
    """
    import torch

    from autotune.measure.drift import ReferenceWorkload

    reference = ReferenceWorkload(torch.device("cpu"))
    reference.measure(REFERENCE_CALLS)
    serving = serve(artifact, examples, settings.inference_threads, gpu)
    reference.measure(REFERENCE_CALLS)
    figures = serving_figures(artifact, serving)
    relative = _relative_speed(figures[SPEED], reference.seconds)
    figures[relative.name] = relative
    return {**figures, **score(serving.logits)}


def _relative_speed(speed: Measurement, reference_seconds: Sequence[float]) -> Measurement:
    from autotune.measure.measurements import product

    value, ci95 = statistics.median(reference_seconds)
    reference = Measurement("reference_seconds", value, "s", len(reference_seconds), ci95)
    return product("deployed_relative_speed", speed, reference)


def serving_figures(artifact: Path, serving: Serving) -> dict[str, Measurement]:
    """The figures of :func:`measure` without the scores."""
    times, warmup = serving.latencies_ms, serving.warmup_ms

    def latency(name: str, fraction: float) -> Measurement:
        value, ci95 = statistics.quantile(times, fraction)
        return Measurement(name, value, "ms", len(times), ci95, times, warmup)

    counts, seconds = zip(*serving.windows, strict=True)
    value, ci95 = statistics.rate(counts, seconds)
    rates = tuple(count / second for count, second in serving.windows)
    size = sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file())
    figures = [
        latency("latency_p50_ms", 0.5),
        latency("latency_p95_ms", 0.95),
        latency("latency_p99_ms", 0.99),
        Measurement(SPEED, value, "samples/s", len(rates), ci95, samples=rates),
        Measurement("load_seconds", serving.load_seconds, "s"),
        Measurement("size_mb", size / MB, "MB"),
    ]
    if serving.peak_bytes is not None:
        figures.append(Measurement("serving_memory_mb", serving.peak_bytes / MB, "MB"))
    return {figure.name: figure for figure in figures}


def serve(
    artifact: Path, texts: Sequence[EncodedText], threads: int | None, gpu: int | None = None
) -> Serving:
    """Predict ``texts`` with the artifact in a process of its own, and time it."""
    from safetensors.numpy import load_file, save_file

    with tempfile.TemporaryDirectory(prefix="autotune-probe-") as name:
        folder = Path(name)
        request = {"artifact": str(artifact.resolve()), "threads": threads, "gpu": gpu}
        (folder / probe.REQUEST).write_text(json.dumps(request), encoding="utf-8")
        save_file(probe.flatten(texts), folder / probe.TEXTS)
        _run(folder, artifact)
        timings = json.loads((folder / probe.TIMINGS).read_bytes())
        logits = probe.unflatten_logits(load_file(folder / probe.LOGITS))
    times = timings["latencies_ms"]
    return Serving(
        load_seconds=timings["load_seconds"],
        latencies_ms=tuple(times[probe.WARMUP_CALLS :]),
        warmup_ms=tuple(times[: probe.WARMUP_CALLS]),
        windows=tuple((count, seconds) for count, seconds in timings["windows"][1:]),
        peak_bytes=timings["peak_bytes"],
        logits=logits,
    )


def _run(folder: Path, artifact: Path) -> None:
    """Run the probe; raise its error."""
    process = run_python(
        ["-m", probe.__name__, str(folder)],
        f"the process that serves {artifact}",
        environment=module_environment(),
    )
    if process.returncode == 0:
        return
    if process.returncode == SIGKILL:
        raise OutOfMemory(f"the process that serves {artifact} was killed: out of memory")
    failure = folder / probe.FAILURE
    if failure.is_file():
        raise _error(json.loads(failure.read_bytes()))
    log = process.stderr.strip()[-MAX_LOG_CHARACTERS:]
    last = log.splitlines()[-1] if log else f"exit code {process.returncode}"
    error = ExecutionError(f"the process that serves {artifact} failed: {last}")
    error.add_note(log)
    raise error


def _error(document: Mapping[str, Any]) -> errors.AutotuneError:
    """The error that the probe reported."""
    kind = getattr(errors, document["error"], ExecutionError)
    error: errors.AutotuneError = kind.__new__(kind)
    errors.AutotuneError.__init__(error, document["message"], hint=document["hint"])
    return error
