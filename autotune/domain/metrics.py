"""The catalogue of metrics: every number a trial can report, its unit and its better direction.

Add a metric with one entry here and its measurement in ``autotune/measure`` (or, for a score of
predictions, in ``autotune/trial``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autotune.domain.study import Direction
from autotune.domain.trial import Phase


@dataclass(frozen=True)
class Metric:
    """``decimals`` is how it is printed; ``label`` is what a person reads."""

    name: str
    label: str
    unit: str
    direction: Direction
    phase: Phase
    summary: str
    decimals: int = 2


_ALL = (
    Metric("train_samples_per_second", "training speed", "samples/s", "maximize", Phase.PROFILE,
           "Examples trained per second of steady state; padding does not count", 1),
    Metric("train_seconds", "training time", "s", "minimize", Phase.RUN,
           "Wall-clock of the whole fine-tune: preparing, pruning, compiling, all steps", 1),
    Metric("setup_seconds", "setup time", "s", "minimize", Phase.PROFILE,
           "Part of the training time that is no step: building, pruning, compiling", 2),
    Metric("train_samples", "examples trained", "samples", "minimize", Phase.TRAIN,
           "Examples that the whole fine-tune goes through, each epoch counted", 0),
    Metric("accuracy", "accuracy", "ratio", "maximize", Phase.TRAIN,
           "Share of validation examples labelled right", 4),
    Metric("f1", "F1", "ratio", "maximize", Phase.TRAIN,
           "F1 averaged over classes, each class alike; of tags that of whole entities", 4),
    Metric("mcc", "MCC", "ratio", "maximize", Phase.TRAIN,
           "Matthews correlation coefficient", 4),
    Metric("loss", "validation loss", "nats", "minimize", Phase.TRAIN,
           "Mean cross-entropy on the validation split", 4),
    Metric("inference_latency_ms", "latency p50", "ms", "minimize", Phase.PROFILE,
           "Median time to label one example at batch 1", 2),
    Metric("inference_latency_p95_ms", "latency p95", "ms", "minimize", Phase.PROFILE,
           "95th percentile of the time to label one example at batch 1", 2),
    Metric("inference_samples_per_second", "inference speed", "samples/s", "maximize",
           Phase.PROFILE, "Examples labelled per second in batches", 1),
    Metric("peak_memory_gib", "peak memory", "GiB", "minimize", Phase.PROFILE,
           "Highest resident memory of the trial's processes, summed over ranks", 2),
    Metric("device_memory_gib", "peak GPU memory", "GiB", "minimize", Phase.PROFILE,
           "Highest memory allocated on the accelerators, summed; CUDA only", 2),
    Metric("device_memory_reserved_gib", "reserved GPU memory", "GiB", "minimize", Phase.PROFILE,
           "Highest memory held by the caching allocator, summed; CUDA only", 2),
    Metric("model_size_mib", "model size", "MiB", "minimize", Phase.PROFILE,
           "Bytes of the fine-tuned weights as they are saved", 1),
    Metric("cost_usd", "cost", "USD", "minimize", Phase.RUN,
           "Price of every device held for the whole fine-tune", 6),
    Metric("inference_usd_per_million", "inference cost", "USD/1M", "minimize", Phase.PROFILE,
           "Price of labelling one million examples in batches", 4),
    Metric("energy_wh", "energy", "Wh", "minimize", Phase.RUN,
           "Energy of the whole fine-tune, from NVML or RAPL counters where they exist", 3),
    Metric("relative_speed", "relative speed", "samples/reference", "maximize", Phase.PROFILE,
           "Training speed in units of the reference workload timed beside it: free of drift", 3),
    Metric("reference_seconds", "reference workload", "s", "minimize", Phase.PROFILE,
           "Time of the fixed reference workload beside the trial's windows", 4),
)  # fmt: skip

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
