"""What readers of trainers' configurations have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.domain import Value
from autotune.export.hf_trainer import OPTIMIZERS

NAMED_OPTIMIZERS = {
    **{name: lever for lever, name in OPTIMIZERS.items()},
    "adamw_torch": "adamw",
    "AdamW": "adamw-fused",
    "Adam": "adamw-fused",
    "SGD": "sgd",
}


@dataclass
class ImportedConfig:
    """Levers as the file sets them, keys of the task, and what was not taken, with the reason."""

    source: str
    levers: dict[str, Value] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def batch(levers: dict[str, Value], micro: int, accumulation: int) -> None:
    """Set the levers of the batch, from micro-batches per step."""
    levers["batch_size"] = micro * accumulation
    if accumulation > 1:
        levers["micro_batch_size"] = micro


def unsupported_options(
    found: ImportedConfig, prefix: str, given: Mapping[str, Any], anyway: Mapping[str, Any]
) -> None:
    """List what of ``given`` no lever stands for and trials do not do anyway."""
    for key, value in given.items():
        if key in anyway:
            if value not in (None, "auto", anyway[key]):
                found.skipped[prefix + key] = f"is {value}; trials always have {anyway[key]}"
        elif value not in (None, False, "", "no", [], {}):
            found.skipped[prefix + key] = "no lever stands for it"


def number(value: Any, otherwise: float) -> float:
    """A number, or ``otherwise`` where the trainer is to find it (``auto``)."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
