"""The metrics: every number that a trial can report, and what other modules derive from it.

To add a metric, add one record here and its measurement in ``autotune/measure``. A score of
predictions needs no further code: its record names the function (:attr:`Metric.score`). Plug-ins
add such scores with :func:`autotune.plugins.register_metric`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

from autotune.domain.registry import Registry
from autotune.domain.study import Direction
from autotune.domain.trial import Phase


class MetricKind(Enum):
    """What a metric measures."""

    SHARE = "share"
    """A fraction of samples, from 0 to 1. Printed in percent and modelled by its log-odds."""
    CORRELATION = "correlation"
    """From -1 to 1."""
    LOSS = "loss"
    RATE = "rate"
    """Samples per second."""
    RELATIVE_RATE = "relative rate"
    """A rate in units of the reference workload, comparable across hosts."""
    TIME = "time"
    MEMORY = "memory"
    """Memory or disk space."""
    COUNT = "count"
    MONEY = "money"
    ENERGY = "energy"


class Requirement(Enum):
    """What a host needs so that a metric can be measured."""

    CUDA = "CUDA devices"
    ENERGY_COUNTERS = "energy counters"
    PRICES = "prices"


Comparison = Literal["faster", "cheaper", "more accurate"]
"""How a better value is described: ``2.8x faster``."""

Pick = Literal["fastest", "most-accurate", "cheapest"]
"""Words that choose a trial by its best value of a metric."""

UNRANKED = 100
"""The rank of metrics that a summary never mentions."""


@dataclass(frozen=True)
class Metric:
    """``unit``, ``label`` and ``decimals`` say how values are printed; ``phase`` is the phase that
    measures it.

    - ``proportional_to``: the operations per sample to which a time or cost is proportional, and a
      rate inversely proportional, before anything was measured.
    - ``comparison`` and ``context``: how a better value is described, and of what: ``2.8x faster
      at inference``. Without it, ``12% lower peak memory``.
    - ``rank``: order in summaries, lowest first. Metrics of equal rank are in registry order.
    - ``in_summary``: mentioned in the summary of a trial of a study without other objectives.
    - ``in_export``: listed in the README of an export.
    - ``is_filter``: offered as a filter even where it is no objective.
    - ``pick``: the word that chooses a trial by this metric.
    - ``requires``: what the host needs to measure it.
    - ``score``: for scores of predictions that no task kind computes itself: a function, or its
      ``"module:name"``, called with the labels and the predictions (arrays of equal shape with
      the evaluated labels, of shape (examples, labels) if an example has several, lists of texts
      for questions) and the label names. It returns a number.
    - ``tasks``: the task kinds that have this score; empty for all.
    - ``base``: for a score of the deployed model, the same score of the trained model.
    """

    name: str
    label: str
    unit: str
    direction: Direction
    phase: Phase
    summary: str
    decimals: int = 2
    kind: MetricKind = MetricKind.COUNT
    proportional_to: Literal["training", "inference"] | None = None
    comparison: Comparison | None = None
    context: str = ""
    rank: int = UNRANKED
    in_summary: bool = False
    in_export: bool = False
    is_filter: bool = False
    pick: Pick | None = None
    requires: Requirement | None = None
    score: Callable[..., float] | str | None = None
    tasks: tuple[str, ...] = ()
    base: str | None = None

    @property
    def is_score(self) -> bool:
        """Whether it evaluates predictions, and so depends on the split and on the seed."""
        return self.phase is Phase.TRAIN or self.base is not None

    @property
    def is_rate(self) -> bool:
        return self.kind in (MetricKind.RATE, MetricKind.RELATIVE_RATE)

    @property
    def is_ratio(self) -> bool:
        """Whether its magnitude is at most 1."""
        return self.kind in (MetricKind.SHARE, MetricKind.CORRELATION)

    @property
    def is_host_independent(self) -> bool:
        """Whether a value holds on another host: scores, sizes, and rates relative to the host."""
        independent = (MetricKind.MEMORY, MetricKind.RELATIVE_RATE)
        return self.is_score or self.kind in independent


_FASTER: dict[str, Any] = {"comparison": "faster", "pick": "fastest"}
_CHEAPER: dict[str, Any] = {"comparison": "cheaper", "pick": "cheapest"}

METRICS: Registry[Metric] = Registry("metric", (
    Metric("train_samples_per_second", "training speed", "samples/s", "maximize", Phase.PROFILE,
           "Samples trained per second in steady state, padding not counted", 1,
           kind=MetricKind.RATE, proportional_to="training", rank=0,
           in_summary=True, in_export=True, **_FASTER),
    Metric("train_seconds", "training time", "s", "minimize", Phase.RUN,
           "Wall-clock time of a full training run, including setup and compilation", 1,
           kind=MetricKind.TIME, rank=2, in_export=True, **_FASTER),
    Metric("setup_seconds", "setup time", "s", "minimize", Phase.PROFILE,
           "Part of the training time before and between steps: model setup, pruning, compilation",
           kind=MetricKind.TIME),
    Metric("train_samples", "samples trained", "samples", "minimize", Phase.TRAIN,
           "Training samples processed in a full training run, over all epochs", 0),
    Metric("accuracy", "accuracy", "ratio", "maximize", Phase.TRAIN,
           "Share of validation samples classified correctly", 4,
           kind=MetricKind.SHARE, comparison="more accurate", rank=2,
           in_summary=True, in_export=True, is_filter=True, pick="most-accurate"),
    Metric("f1", "F1", "ratio", "maximize", Phase.TRAIN,
           "Mean F1 of classes; F1 of entities for tokens, of words for answers to questions", 4,
           kind=MetricKind.SHARE, rank=2, in_export=True, pick="most-accurate"),
    Metric("mcc", "MCC", "ratio", "maximize", Phase.TRAIN,
           "Matthews correlation coefficient", 4,
           kind=MetricKind.CORRELATION, rank=2, pick="most-accurate"),
    Metric("exact_match", "exact match", "ratio", "maximize", Phase.TRAIN,
           "Share of questions whose answer is exactly one of the given answers", 4,
           kind=MetricKind.SHARE, comparison="more accurate", rank=2,
           in_summary=True, in_export=True, pick="most-accurate"),
    Metric("has_answer_f1", "F1 with answer", "ratio", "maximize", Phase.TRAIN,
           "F1 of the words of answers, of the questions that have an answer", 4,
           kind=MetricKind.SHARE, rank=2, pick="most-accurate"),
    Metric("f1_micro", "micro F1", "ratio", "maximize", Phase.TRAIN,
           "F1 of all labels of all examples together", 4,
           kind=MetricKind.SHARE, rank=2, in_export=True, pick="most-accurate"),
    Metric("ranking_precision", "ranking precision", "ratio", "maximize", Phase.TRAIN,
           "Label ranking average precision", 4,
           kind=MetricKind.SHARE, rank=2, pick="most-accurate"),
    Metric("pearson", "Pearson correlation", "correlation", "maximize", Phase.TRAIN,
           "Pearson correlation of predictions and labels", 4,
           kind=MetricKind.CORRELATION, rank=2, in_export=True, pick="most-accurate"),
    Metric("spearman", "Spearman correlation", "correlation", "maximize", Phase.TRAIN,
           "Rank correlation of predictions and labels", 4,
           kind=MetricKind.CORRELATION, rank=2, in_export=True, pick="most-accurate"),
    Metric("rmse", "RMSE", "label units", "minimize", Phase.TRAIN,
           "Root of the mean squared error of predictions, in units of the labels", 4,
           kind=MetricKind.LOSS, rank=2, in_export=True, pick="most-accurate"),
    Metric("loss", "validation loss", "nats", "minimize", Phase.TRAIN,
           "Mean loss on the validation split: cross-entropy, or squared error for regression", 4,
           kind=MetricKind.LOSS, rank=2, pick="most-accurate"),
    Metric("inference_latency_ms", "latency p50", "ms", "minimize", Phase.PROFILE,
           "Median latency of inference at batch size 1",
           kind=MetricKind.TIME, proportional_to="inference", context="to answer", rank=4,
           in_export=True, **_FASTER),
    Metric("inference_latency_p95_ms", "latency p95", "ms", "minimize", Phase.PROFILE,
           "95th percentile of the latency of inference at batch size 1",
           kind=MetricKind.TIME, proportional_to="inference",
           comparison="faster", context="to answer (p95)"),
    Metric("inference_samples_per_second", "inference speed", "samples/s", "maximize",
           Phase.PROFILE, "Samples classified per second in batches", 1,
           kind=MetricKind.RATE, proportional_to="inference", context="at inference", rank=3,
           in_export=True, **_FASTER),
    Metric("peak_memory_gib", "peak memory", "GiB", "minimize", Phase.PROFILE,
           "Peak resident memory of the trial's processes, summed over ranks",
           kind=MetricKind.MEMORY, rank=5, in_export=True, is_filter=True),
    Metric("device_memory_gib", "peak GPU memory", "GiB", "minimize", Phase.PROFILE,
           "Peak memory allocated on the GPUs, summed; CUDA only",
           kind=MetricKind.MEMORY, requires=Requirement.CUDA),
    Metric("device_memory_reserved_gib", "reserved GPU memory", "GiB", "minimize", Phase.PROFILE,
           "Peak memory reserved by the caching allocator, summed over GPUs; CUDA only",
           kind=MetricKind.MEMORY, requires=Requirement.CUDA),
    Metric("model_size_mib", "model size", "MiB", "minimize", Phase.PROFILE,
           "Size of the saved weights of the fine-tuned model", 1, kind=MetricKind.MEMORY),
    Metric("cost_usd", "cost", "USD", "minimize", Phase.RUN,
           "Price of the resources that a full training run occupies", 6,
           kind=MetricKind.MONEY, rank=6, in_summary=True, in_export=True, is_filter=True,
           requires=Requirement.PRICES, **_CHEAPER),
    Metric("inference_usd_per_million", "inference cost", "USD/1M", "minimize", Phase.PROFILE,
           "Price of classifying one million samples in batches", 4,
           kind=MetricKind.MONEY, proportional_to="inference", context="at inference", rank=7,
           requires=Requirement.PRICES, **_CHEAPER),
    Metric("energy_wh", "energy", "Wh", "minimize", Phase.RUN,
           "Energy of a full training run, from NVML or RAPL counters", 3,
           kind=MetricKind.ENERGY, rank=8, pick="cheapest", requires=Requirement.ENERGY_COUNTERS),
    Metric("relative_speed", "relative speed", "samples/reference", "maximize", Phase.PROFILE,
           "Training speed in samples per run of the reference workload: corrected for drift", 3,
           kind=MetricKind.RELATIVE_RATE, proportional_to="training", rank=1, **_FASTER),
    Metric("reference_seconds", "reference workload", "s", "minimize", Phase.PROFILE,
           "Time of the fixed reference workload, run between the windows of the trial", 4,
           kind=MetricKind.TIME),
    Metric("latency_p50_ms", "deployed latency p50", "ms", "minimize", Phase.DEPLOY,
           "Median latency of the deployed model at batch size 1, tokenization not counted",
           kind=MetricKind.TIME, proportional_to="inference", context="to answer", rank=4,
           in_export=True, **_FASTER),
    Metric("latency_p95_ms", "deployed latency p95", "ms", "minimize", Phase.DEPLOY,
           "95th percentile of the latency of the deployed model at batch size 1",
           kind=MetricKind.TIME, proportional_to="inference",
           context="to answer (p95)", rank=4, in_export=True, **_FASTER),
    Metric("latency_p99_ms", "deployed latency p99", "ms", "minimize", Phase.DEPLOY,
           "99th percentile of the latency of the deployed model at batch size 1",
           kind=MetricKind.TIME, proportional_to="inference",
           context="to answer (p99)", rank=4, **_FASTER),
    Metric("deployed_samples_per_second", "deployed speed", "samples/s", "maximize", Phase.DEPLOY,
           "Samples that the deployed model classifies per second in batches", 1,
           kind=MetricKind.RATE, proportional_to="inference", context="when deployed", rank=3,
           in_export=True, **_FASTER),
    Metric("deployed_relative_speed", "deployed relative speed", "samples/reference", "maximize",
           Phase.DEPLOY, "Deployed speed in samples per run of the reference workload", 3,
           kind=MetricKind.RELATIVE_RATE, proportional_to="inference", rank=1, **_FASTER),
    Metric("deployed_usd_per_million", "deployed cost", "USD/1M", "minimize", Phase.DEPLOY,
           "Price of the cores of the deployed model for one million samples in batches", 4,
           kind=MetricKind.MONEY, proportional_to="inference", context="when deployed", rank=7,
           requires=Requirement.PRICES, **_CHEAPER),
    Metric("size_mb", "deployed size", "MB", "minimize", Phase.DEPLOY,
           "Size of the files of the deployed model on disk", 1,
           kind=MetricKind.MEMORY, rank=5, in_export=True),
    Metric("serving_memory_mb", "serving memory", "MB", "minimize", Phase.DEPLOY,
           "Peak resident memory of a process that serves the deployed model", 0,
           kind=MetricKind.MEMORY, rank=5),
    Metric("load_seconds", "load time", "s", "minimize", Phase.DEPLOY,
           "Time to load the deployed model and to answer the first text",
           kind=MetricKind.TIME, rank=8),
    Metric("deploy_seconds", "deployment time", "s", "minimize", Phase.DEPLOY,
           "Time to build the deployed model and to measure it", 1, kind=MetricKind.TIME),
))  # fmt: skip


def register_score(metric: Metric) -> None:
    """Add a score of predictions, and that of the deployed model."""
    METRICS.register(metric)
    if has_deployed_form(metric):
        METRICS.register(deployed_score(metric))


def own_score(reference: str) -> Metric:
    """The record of a score that a study file names as ``module:function``: a share, and higher is
    better. Plug-ins register scores of other kinds."""
    name = reference.partition(":")[2]
    return Metric(
        name,
        name.replace("_", " "),
        "ratio",
        "maximize",
        Phase.TRAIN,
        f"Score of {reference}",
        4,
        kind=MetricKind.SHARE,
        rank=2,
        in_export=True,
        score=reference,
    )


def deployed_score(metric: Metric) -> Metric:
    """The record of a score as the deployed model reaches it."""
    return replace(
        metric,
        name=f"deployed_{metric.name}",
        label=f"deployed {metric.label}",
        phase=Phase.DEPLOY,
        summary=f"{metric.summary}, by the deployed model",
        context="as deployed",
        in_summary=False,
        is_filter=False,
        score=None,
        base=metric.name,
    )


def has_deployed_form(metric: Metric) -> bool:
    """Whether the deployed model has this score too: it evaluates its predicted labels."""
    return metric.phase is Phase.TRAIN and (metric.is_ratio or metric.score is not None)


for _score in [metric for metric in METRICS.values() if has_deployed_form(metric)]:
    METRICS.register(deployed_score(_score))


def get_metric(name: str) -> Metric:
    """The record of a metric. For one that is not registered, such as that of a plug-in in a stored
    study, a record with its name as label."""
    unknown = Metric(name, name, "", "maximize", Phase.TRAIN, "A metric that is not registered", 4)
    return METRICS.get(name, unknown)


def select_metrics(condition: Callable[[Metric], object]) -> tuple[str, ...]:
    """The names of the metrics for which ``condition`` is true, in the order of their rank."""
    metrics = [metric for metric in METRICS.values() if condition(metric)]
    return tuple(metric.name for metric in sorted(metrics, key=lambda metric: metric.rank))
