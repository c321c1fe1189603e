"""What is expected of levers before a study measures anything: their effects on accuracy.

An effect is a change of the log-odds of accuracy and F1, which is nearly a sum over levers: at 85%,
0.08 is one point. The effects are a prior: a surrogate expects them with their standard deviation,
and measured results replace them.

All figures of this module are set by hand. They are estimates for a pretrained encoder that the
default trains well, neither averages of publications nor fits to the recorded landscapes, which are
few and small. Some were changed when searches on ``trec_bound`` and on the landscapes without a
constraint had been looked at, none because of ``sst2_bound``. ``benchmarks/fit_priors.py`` prints
the effects in the landscapes beside them, and can leave out one (docs/search.md has the result).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.domain import Strategy, Value, WorkloadProfile
from autotune.domain.runtimes import RUNTIMES
from autotune.domain.training import num_steps, peak_learning_rate


@dataclass(frozen=True)
class Effect:
    """The mean and the standard deviation of the effect of a setting, relative to the default."""

    mean: float
    deviation: float


Effects = Mapping[str, Mapping[Value, Effect]]
"""Effects by lever and setting. Between numbers they are interpolated."""

ACCURACY_EFFECTS: Effects = {
    "padding": {"bucketed": Effect(0.0, 0.08)},
    "precision": {
        "bf16": Effect(0.0, 0.06),
        "fp16": Effect(0.0, 0.06),
        "tf32": Effect(0.0, 0.03),
        "bf16-pure": Effect(-0.08, 0.12),
    },
    "pruning_ratio": {
        0.0: Effect(0.0, 0.0),
        0.25: Effect(-0.12, 0.2),
        0.5: Effect(-0.5, 0.35),
        0.75: Effect(-1.1, 0.6),
    },
    "pruning_method": {"layers": Effect(0.0, 0.25), "unstructured": Effect(0.0, 0.25)},
    "pruning_score": {"magnitude": Effect(-0.05, 0.15)},
    "pruning_schedule": {"after-warmup": Effect(0.05, 0.15), "gradual": Effect(0.1, 0.2)},
    "freeze_layers": {0: Effect(0.0, 0.0), 1: Effect(0.0, 0.05), 13: Effect(-0.72, 0.6)},
    "batch_size": {8: Effect(0.0, 0.0), 64: Effect(0.0, 0.3)},
    "learning_rate_scaling": {"sqrt": Effect(0.0, 0.2), "linear": Effect(0.0, 0.3)},
    "epochs": {1.0: Effect(0.0, 0.0), 3.0: Effect(0.0, 0.6)},
    "cache_activations": {True: Effect(0.0, 0.08)},
    "dropout": {0.0: Effect(0.0, 0.15)},
    "adapter": {
        "lora": Effect(-0.1, 0.25),
        "adalora": Effect(-0.1, 0.25),
        "dora": Effect(-0.1, 0.25),
        "ia3": Effect(-0.4, 0.4),
    },
    "adapter_rank": {1: Effect(-0.1, 0.15), 8: Effect(0.0, 0.0), 256: Effect(0.05, 0.15)},
    "adapter_alpha": {1: Effect(-0.2, 0.3), 16: Effect(0.0, 0.0), 256: Effect(-0.1, 0.3)},
    "adapter_targets": {"all": Effect(0.05, 0.1)},
    "lr_scheduler": {
        "cosine": Effect(0.0, 0.08),
        "constant": Effect(-0.05, 0.15),
        "constant-cooldown": Effect(0.0, 0.1),
        "polynomial": Effect(-0.03, 0.1),
    },
    "warmup_ratio": {0.0: Effect(0.0, 0.0), 0.1: Effect(0.01, 0.1), 0.5: Effect(-0.06, 0.15)},
    "weight_decay": {0.0: Effect(0.0, 0.0), 0.1: Effect(0.0, 0.1), 1.0: Effect(-0.1, 0.3)},
    "label_smoothing": {0.0: Effect(0.0, 0.0), 0.1: Effect(0.0, 0.15), 0.9: Effect(-0.5, 0.5)},
    "distillation": {0.0: Effect(0.0, 0.0), 0.5: Effect(0.05, 0.15), 1.0: Effect(0.0, 0.25)},
    "distillation_temperature": {1.0: Effect(0.0, 0.05), 20.0: Effect(0.0, 0.2)},
    "layer_decay": {0.1: Effect(-0.4, 0.4), 0.8: Effect(0.0, 0.15), 1.0: Effect(0.0, 0.0)},
    "gradient_clip": {0.0: Effect(-0.02, 0.15), 1.0: Effect(0.0, 0.0), 1000.0: Effect(-0.02, 0.15)},
    "post_pruning_ratio": {
        0.0: Effect(0.0, 0.0),
        0.4: Effect(-0.2, 0.25),
        0.9: Effect(-1.5, 1.0),
    },
    "quantization": {
        "bf16": Effect(0.0, 0.03),
        "fp16": Effect(0.0, 0.02),
        "int8-dynamic": Effect(0.0, 0.1),
        "int8-static": Effect(0.0, 0.2),
    },
    "runtime": dict.fromkeys(RUNTIMES, Effect(0.0, 0.01)),
    "quantization_aware": {True: Effect(0.0, 0.1)},
    "quantization_granularity": {"tensor": Effect(0.0, 0.1)},
    "quantization_operators": {"linear": Effect(0.0, 0.05)},
    "inference_batch_size": {1: Effect(0.0, 0.0), 65536: Effect(0.0, 0.01)},
    "inference_threads": {0: Effect(0.0, 0.0), 1024: Effect(0.0, 0.01)},
    "inference_padding": {"bucketed": Effect(0.0, 0.01)},
    "optimizer": {
        "adamw-fused": Effect(0.0, 0.03),
        "adafactor": Effect(0.0, 0.3),
        "sgd": Effect(-0.5, 0.5),
    },
}
"""Settings that are not listed have no expected effect. A learning rate and a method of pruning
have functions of their own: :func:`_rate_effect`, :data:`METHOD_FACTORS`."""

SPEEDUPS: Mapping[str, Mapping[Value, float]] = {
    "allocator": {"tuned": 1.2},
    "attention": {"sdpa": 1.1, "flash_attention_2": 1.3},
    "pinned_memory": {True: 1.03},
    "loader_workers": {1: 1.03, 2: 1.03},
}
"""Training speeds relative to the default that settings without influence on accuracy can have:
what is worth a probe, not what is expected."""

METHOD_FACTORS: Mapping[str, float] = {"unstructured": 0.3}
"""By what the effect of ``pruning_ratio`` is multiplied; 1 for other methods."""

DEFAULT_DEVIATION = 0.45
"""Standard deviation of the effect of a lever that has no listed one."""

RATE_CURVATURE, RATE_DEVIATION = -0.035, 0.9
"""Effect for the square of the base-2 logarithm of the ratio to the typical learning rate, and the
standard deviation of the effect of rates within a magnitude."""

MAX_RATE_DOUBLINGS = 4.0
"""A rate that is farther from the typical one is not expected to be worse."""

TYPICAL_RATE, TYPICAL_WIDTH, TYPICAL_STEPS = 2e-4, 384, 190
"""A learning rate that suits an encoder of this hidden size in this many optimizer steps."""

STEPS_EXPONENT = 0.7
"""Fewer steps need larger rates: the rate is proportional to this power of their inverse."""

ADAPTER_RATES: Mapping[str, float] = {
    "none": 1.0, "lora": 5.0, "adalora": 5.0, "dora": 5.0, "ia3": 20.0,
}  # fmt: skip
"""Factors on the typical learning rate. Adapters start without an effect and need larger rates."""

SIZE_EFFECT = 0.15
"""Effect of a model with twice as many parameters in its layers."""


REFERENCE_ACCURACY = 0.85
"""Accuracy at which points are converted to log-odds."""

MIN_DEVIATION = 0.05
"""Least standard deviation of an effect that a study file states."""


def accuracy_effects(
    losses: Mapping[str, Sequence[tuple[Value, float]]], defaults: Mapping[str, Value]
) -> Effects:
    """:data:`ACCURACY_EFFECTS` with those of the levers in ``losses`` replaced: pairs of a setting
    and the points of accuracy that it is expected to lose, uncertain by half of them. The setting
    of the default loses nothing."""
    stated = {}
    for lever, pairs in losses.items():
        effects: dict[Value, Effect] = {defaults[lever]: Effect(0.0, 0.0)}
        for setting, points in pairs:
            mean = _log_odds(REFERENCE_ACCURACY - points / 100) - _log_odds(REFERENCE_ACCURACY)
            effects[setting] = Effect(mean, max(abs(mean) / 2, MIN_DEVIATION))
        stated[lever] = effects
    return {**ACCURACY_EFFECTS, **stated}


def _log_odds(share: float) -> float:
    share = min(max(share, 0.01), 0.99)
    return math.log(share / (1 - share))


def typical_learning_rate(strategy: Strategy, workload: WorkloadProfile) -> float:
    """A learning rate that suits the model and the number of optimizer steps of ``strategy``."""
    workload = workload.under(strategy)
    steps = workload.steps or num_steps(strategy, workload.train_samples)
    width = (TYPICAL_WIDTH / workload.hidden) ** 2
    rate = TYPICAL_RATE * ADAPTER_RATES[str(strategy["adapter"])]
    return rate * width * float((TYPICAL_STEPS / steps) ** STEPS_EXPONENT)


def accuracy_log_odds(
    strategy: Strategy, workload: WorkloadProfile, effects: Effects = ACCURACY_EFFECTS
) -> float:
    """The expected log-odds of the accuracy of ``strategy``, up to a constant of the task."""
    total = 0.0
    for lever, by_setting in effects.items():
        effect = expected_effect(by_setting, strategy.get(lever, ""))
        if lever == "pruning_ratio":
            effect *= METHOD_FACTORS.get(str(strategy["pruning_method"]), 1.0)
        total += effect
    if "model" not in effects and workload.models:
        total += _size_effect(strategy, workload)
    return total + (0.0 if "learning_rate" in effects else _rate_effect(strategy, workload))


def expected_speedup(lever: str, value: Value) -> float:
    """The training speed relative to the default; 1 for settings that are not listed."""
    return SPEEDUPS.get(lever, {}).get(value, 1.0)


def expected_effect(by_setting: Mapping[Value, Effect], value: Value) -> float:
    """The mean effect of a setting of a lever; 0 for words that are not listed."""
    if value in by_setting:
        return by_setting[value].mean
    numbers = sorted(v for v in by_setting if isinstance(v, int | float))
    if not numbers or not isinstance(value, int | float):
        return 0.0
    return float(np.interp(value, numbers, [by_setting[number].mean for number in numbers]))


def effect_deviation(lever: str, settings: Sequence[Value], effects: Effects) -> float:
    """The standard deviation of the largest effect that the ``settings`` of ``lever`` can have."""
    by_setting = effects.get(lever)
    if not by_setting:
        return RATE_DEVIATION if lever == "learning_rate" else DEFAULT_DEVIATION
    numbers = sorted(v for v in by_setting if isinstance(v, int | float))
    deviations = [by_setting[number].deviation for number in numbers]
    listed = [by_setting[value].deviation for value in settings if value in by_setting]
    between = [
        float(np.interp(value, numbers, deviations))
        for value in settings
        if numbers and isinstance(value, int | float) and value not in by_setting
    ]
    return max([*listed, *between], default=DEFAULT_DEVIATION)


def _size_effect(strategy: Strategy, workload: WorkloadProfile) -> float:
    """Larger models are more accurate: relative to the model of the task, by parameters in layers,
    which differ less between families than those of embeddings."""
    profile = workload.under(strategy)
    ratio = (
        profile.layers * profile.layer_parameters / (workload.layers * workload.layer_parameters)
    )
    return SIZE_EFFECT * math.log2(ratio)


def _rate_effect(strategy: Strategy, workload: WorkloadProfile) -> float:
    rate = peak_learning_rate(strategy) / typical_learning_rate(strategy, workload)
    doublings = min(max(math.log2(rate), -MAX_RATE_DOUBLINGS), MAX_RATE_DOUBLINGS)
    return RATE_CURVATURE * doublings**2
