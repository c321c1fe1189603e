"""Readers of trainers' configurations. To add one, write a module and add one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autotune.importers import accelerate, adapter, deepspeed, trainer
from autotune.importers.base import ImportedConfig

READERS: Mapping[frozenset[str], Callable[[Mapping[str, Any]], ImportedConfig]] = {
    frozenset({"peft_type"}): adapter.read,
    frozenset({"per_device_train_batch_size", "output_dir"}): trainer.read,
    frozenset({"compute_environment", "distributed_type"}): accelerate.read,
    frozenset({"train_micro_batch_size_per_gpu", "train_batch_size"}): deepspeed.read,
}
"""Readers by keys. A file with any of the keys is in the reader's format."""
