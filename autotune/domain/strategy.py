"""A strategy: one setting for every lever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Value = bool | int | float | str
"""A setting of a lever."""


OF_TASK = "task"
"""The setting of levers that replace a key of the task: the key itself."""

LATER_DEFAULTS: Mapping[str, Value] = {
    "adapter": "none",
    "adapter_alpha": 16,
    "adapter_rank": 8,
    "adapter_targets": "attention",
    "cache_activations": False,
    "distillation": 0.0,
    "distillation_temperature": 2.0,
    "gradient_clip": 1.0,
    "inference_batch_size": 32,
    "inference_padding": "dynamic",
    "inference_threads": 0,
    "label_smoothing": 0.0,
    "layer_decay": 1.0,
    "lr_scheduler": "linear",
    "max_length": OF_TASK,
    "model": OF_TASK,
    "post_pruning_ratio": 0.0,
    "pruning_schedule": "one-shot",
    "quantization": "none",
    "quantization_aware": False,
    "quantization_granularity": "channel",
    "quantization_operators": "all",
    "runtime": "torch",
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
}
"""Levers that stored strategies may lack, with the settings that these trials ran with. At these
settings they are no part of a key, so that the results of older trials stay shared."""


@dataclass(frozen=True)
class Strategy:
    """A setting for every lever: how a model is fine-tuned on the data of its task.

    ``values`` has each lever once. Inactive levers have their default, so that two strategies that
    do the same are equal and have the same :attr:`key`.
    """

    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        values = {**LATER_DEFAULTS, **self.values}
        object.__setattr__(self, "values", dict(sorted(values.items())))

    def __getitem__(self, lever: str) -> Value:
        return self.values[lever]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __hash__(self) -> int:
        return hash(self.key)

    def get(self, lever: str, default: Value) -> Value:
        """The setting of ``lever``, or ``default`` if an older strategy does not have it."""
        return self.values.get(lever, default)

    @cached_property
    def key(self) -> str:
        """A digest (16 hex digits) that is equal for equal settings."""
        return digest(self.key_values)

    @property
    def key_values(self) -> dict[str, Value]:
        """The settings that identify the strategy: without those of :data:`LATER_DEFAULTS`."""
        return {n: v for n, v in self.values.items() if LATER_DEFAULTS.get(n) != v}

    def with_values(self, **values: Value) -> Strategy:
        """A copy with some settings replaced."""
        return Strategy({**self.values, **values})

    def differences(self, other: Strategy) -> dict[str, tuple[Value | None, Value | None]]:
        """The settings that differ, as ``{lever: (own, other)}``."""
        levers = sorted({*self.values, *other.values})
        pairs = {name: (self.values.get(name), other.values.get(name)) for name in levers}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def digest(document: Any) -> str:
    """16 hex digits of the SHA-256 of a JSON document in canonical form."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
