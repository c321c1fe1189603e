"""The lever ``parallelism`` as trainers need it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from autotune.domain import Strategy
from autotune.levers.layout import Layout, layout


def get_layout(strategy: Strategy) -> Layout:
    """How the strategy's processes are laid out."""
    return layout(strategy.get("parallelism", "none"))


def parallel_degrees(strategy: Strategy) -> Mapping[str, int]:
    """Degrees by kind: ``{}`` for one process, ``{"ddp": 2, "tp": 2}`` for ``ddp:2 x tp:2``."""
    found = get_layout(strategy)
    pairs = ((found.data_kind, found.data), (found.model_kind, found.model))
    return {kind: degree for kind, degree in pairs if kind is not None}


def num_processes(strategy: Strategy) -> int:
    """Processes that the strategy runs in."""
    return get_layout(strategy).world


def num_replicas(strategy: Strategy) -> int:
    """Processes that share a batch."""
    return get_layout(strategy).data


def unsupported_parallelism(name: str, *able: str) -> dict[str, str]:
    """The refusal of kinds of parallelism other than ``able``."""
    kinds = ", ".join(("none", *able))
    return {"parallelism": f"{name} is written for {kinds}; torchrun runs every kind"}


REFERENCE_BATCH = 8
"""The batch size for which a learning rate is meant as it is, as in a trial."""


def micro_batch_size(strategy: Strategy) -> int:
    """Examples per forward and backward of one process."""
    own = max(1, int(strategy["batch_size"]) // num_replicas(strategy))
    micro = strategy["micro_batch_size"]
    return own if micro == "full" else min(own, int(micro))


def accumulation_steps(strategy: Strategy) -> int:
    """Micro-batches per optimizer step of one process."""
    return int(strategy["batch_size"]) // (micro_batch_size(strategy) * num_replicas(strategy))


def uneven_batch(strategy: Strategy) -> Mapping[str, str]:
    """The refusal of a batch that is no whole number of equal micro-batches on every process, for
    trainers that know no other: they would train a smaller one."""
    micro, ranks = micro_batch_size(strategy), num_replicas(strategy)
    if micro * accumulation_steps(strategy) * ranks == int(strategy["batch_size"]):
        return {}
    asked = strategy["micro_batch_size"]
    unit = ranks if asked == "full" else ranks * int(asked)
    parts = "micro-batches" if asked == "full" else f"micro-batches of {asked}"
    over = f" on {ranks} processes" if ranks > 1 else ""
    reason = f"does not divide into equal {parts}{over}; a multiple of {unit} does"
    return {"batch_size": reason}


def steps(strategy: Strategy, examples: int) -> int:
    """Optimizer steps in the strategy's epochs over ``examples``."""
    per_epoch = math.ceil(examples / int(strategy["batch_size"]))
    return max(1, math.ceil(float(strategy["epochs"]) * per_epoch))


def peak_rate(strategy: Strategy) -> float:
    """The learning rate of the first step, scaled to the batch size."""
    ratio = int(strategy["batch_size"]) / REFERENCE_BATCH
    factors = {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}
    return float(strategy["learning_rate"]) * factors[str(strategy["learning_rate_scaling"])]
