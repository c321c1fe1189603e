"""Measures how an artifact serves: the program of a process of its own.

``python -m autotune.deployment.probe FOLDER`` reads ``request.json`` and ``texts.safetensors`` from
the folder, and writes ``timings.json`` and ``logits.safetensors`` to it. The process imports
nothing but the runtime, so that its memory is that of serving.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from autotune.deployment.inputs import EncodedText
from autotune.deployment.predictor import Predictor, split_logits
from autotune.deployment.runtimes import open_artifact
from autotune.errors import AutotuneError

REQUEST, TEXTS = "request.json", "texts.safetensors"
TIMINGS, LOGITS, FAILURE = "timings.json", "logits.safetensors", "failure.json"

WINDOW_SECONDS = 0.25
MIN_SECONDS = 2.0
"""Batches are predicted for at least this long, if need be each text several times."""

RECORDS_SHAPES = ("torch-cuda-graphs",)
"""Runtimes for which the first batch of each shape takes much longer than the others."""

WARMUP_CALLS = 10
MIN_CALLS = 60
MAX_CALLS = 1000
MAX_LATENCY_SECONDS = 3.0
"""Latency is measured until this time and :data:`MIN_CALLS`, or :data:`MAX_CALLS`."""


def main(folder: Path) -> int:
    request = json.loads((folder / REQUEST).read_bytes())
    texts = unflatten(load_file(folder / TEXTS))
    try:
        timings, logits = _measure(
            Path(request["artifact"]), request["threads"], request["gpu"], texts
        )
    except AutotuneError as error:
        document = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        (folder / FAILURE).write_text(json.dumps(document), encoding="utf-8")
        return 1
    save_file(flatten_logits(logits), folder / LOGITS)
    (folder / TIMINGS).write_text(json.dumps(timings), encoding="utf-8")
    return 0


def _measure(
    artifact: Path, threads: int | None, gpu: int | None, texts: Sequence[EncodedText]
) -> tuple[Mapping[str, Any], list[np.ndarray]]:
    start = time.perf_counter()
    if gpu is not None:
        import torch

        torch.cuda.set_device(gpu)
    with TemporaryFile() as outputs, open_artifact(artifact, threads) as predictor:
        predictor.predict(texts[:1])
        load_seconds = time.perf_counter() - start
        # In random order, so that windows have short and long texts.
        batches = predictor.batches(texts)
        np.random.default_rng(0).shuffle(batches)
        if predictor.artifact.runtime in RECORDS_SHAPES:
            _predict_each_shape(predictor, texts, batches)
        latencies = _time_calls(predictor, texts)
        windows = list(_time_batches(predictor, texts, batches, outputs))
        peak = _peak_bytes()
        outputs.seek(0)
        logits = split_logits((np.load(outputs) for _ in batches), batches, texts)
    return {
        "load_seconds": load_seconds,
        "latencies_ms": latencies,
        "windows": windows,
        "peak_bytes": peak,
    }, logits


def _predict_each_shape(
    predictor: Predictor, texts: Sequence[EncodedText], batches: Sequence[NDArray[Any]]
) -> None:
    """Predict a single text of each length, and each batch."""
    for text in {len(text["input_ids"]): text for text in texts}.values():
        predictor.predict([text])
    for rows in batches:
        predictor.predict([texts[row] for row in rows])


def _time_calls(predictor: Predictor, texts: Sequence[EncodedText]) -> list[float]:
    """Milliseconds of each prediction of one text, the warm-up included."""
    order = np.random.default_rng(0).permutation(len(texts))
    times: list[float] = []
    first = time.perf_counter()
    for row in np.resize(order, WARMUP_CALLS + MAX_CALLS).tolist():
        start = time.perf_counter()
        predictor.predict([texts[row]])
        end = time.perf_counter()
        times.append((end - start) * 1e3)
        is_long = end - first > MAX_LATENCY_SECONDS
        if is_long and len(times) >= WARMUP_CALLS + MIN_CALLS:
            break
    return times


def _time_batches(
    predictor: Predictor,
    texts: Sequence[EncodedText],
    batches: Sequence[NDArray[Any]],
    outputs: IO[bytes],
) -> Iterator[tuple[int, float]]:
    """Windows (texts, seconds). All batches are predicted as often as the others; the first window
    is a warm-up. What the model first returns for each batch is written to ``outputs``, where it
    takes no memory."""
    start = time.perf_counter()
    predictor.predict([texts[row] for row in batches[0]])
    yield len(batches[0]), time.perf_counter() - start
    total = 0.0
    while total < MIN_SECONDS:
        is_first, count, seconds = total == 0.0, 0, 0.0
        for index, rows in enumerate(batches):
            batch = [texts[row] for row in rows]
            start = time.perf_counter()
            output = predictor.predict(batch)
            seconds += time.perf_counter() - start
            count += len(batch)
            if is_first:
                np.save(outputs, output)
            if seconds >= WINDOW_SECONDS or index == len(batches) - 1:
                yield count, seconds
                total += seconds
                count, seconds = 0, 0.0


def _peak_bytes() -> int | None:
    """Peak resident memory of this process; ``None`` where the kernel does not report it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    kib = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kib[0]) * 1024 if kib else None


def flatten(texts: Sequence[EncodedText]) -> dict[str, np.ndarray]:
    """Texts as flat arrays: ``offsets``, and each name of their ids."""
    offsets = np.cumsum([0, *(len(text["input_ids"]) for text in texts)])
    names = texts[0].keys()
    flat = {name: np.concatenate([np.asarray(t[name], np.int64) for t in texts]) for name in names}
    return {**flat, "offsets": offsets.astype(np.int64)}


def unflatten(arrays: Mapping[str, np.ndarray]) -> list[EncodedText]:
    """The inverse of :func:`flatten`."""
    offsets = arrays["offsets"]
    names = arrays.keys() - {"offsets"}
    return [
        {name: arrays[name][start:end] for name in names}
        for start, end in pairwise(offsets.tolist())
    ]


def flatten_logits(logits: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """``values`` (``float32[rows, labels]``) and the number of rows of each text, 0 for logits
    without a row for each token."""
    rows = [0 if values.ndim == 1 else len(values) for values in logits]
    return {"values": np.concatenate([np.atleast_2d(v) for v in logits]), "rows": np.array(rows)}


def unflatten_logits(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The inverse of :func:`flatten_logits`."""
    values, rows = arrays["values"], arrays["rows"]
    ends = np.cumsum(np.maximum(rows, 1))
    return [
        values[end - 1] if count == 0 else values[end - count : end]
        for end, count in zip(ends, rows, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
