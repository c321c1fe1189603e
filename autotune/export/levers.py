"""Where each lever of a strategy arrives in a format, and what happens to one that cannot.

A format says for every lever where it is set. A lever that it does not mention, or that it refuses
at the value in question, stops the export unless the user allows a partial one: nothing that was
tuned is lost in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autotune.domain import Strategy, Value
from autotune.errors import UsageError
from autotune.levers import LEVERS
from autotune.levers.cluster import ANY

Refuse = Callable[[Strategy], Mapping[str, str]]
"""Reasons by lever why a format cannot express this strategy."""

CODE: Mapping[str, str] = {
    "device": "tuned/ground.py, before the first tensor",
    "threads": "tuned/ground.py: intra-op threads, each on a core of its own",
    "pinning": "tuned/ground.py: cores of its own for each process, or all for all",
    "allocator": "tuned/trial/effects/allocator.py, before the first tensor",
    "pinned_memory": "tuned/trial/data/batching.py",
    "padding": "tuned/trial/data/batching.py: order of examples and their padding",
    "precision": "tuned/trial/effects/precision.py",
    "attention": "tuned/trial/models.py: attn_implementation",
    "pruning_ratio": "tuned/trial/effects/pruning.py, before training",
    "pruning_method": "tuned/trial/effects/pruning.py",
    "pruning_score": "tuned/trial/effects/pruning_scores.py",
    "freeze_layers": "tuned/trial/effects/freezing.py",
    "dropout": "tuned/trial/models.py: the model's config",
    "activation_checkpointing": "tuned/trial/effects/checkpointing.py",
}
"""What the code of every exported script does, whatever the trainer."""

LOOP: Mapping[str, str] = {
    "batch_size": "tuned/trial/plan.py",
    "micro_batch_size": "tuned/trial/plan.py",
    "compile": "torch.compile, before training",
    "learning_rate": "tuned/trial/effects/optimizers.py",
    "learning_rate_scaling": "tuned/trial/effects/optimizers.py",
    "epochs": "tuned/trial/plan.py",
    "optimizer": "tuned/trial/effects/optimizers.py",
}
"""What the script does where the trainer brings no loop of its own."""


AUTOTUNE_ONLY: Mapping[str, str] = {
    "placement": "tuned/trial/effects/device_map.py; a GPU and the CPU side by side by tuned/trial/distributed",
    "split_gpus": "tuned/levers/__init__.py: the GPUs that a process holds",
    "offload": "tuned/trial/effects/offloading.py, tuned/trial/distributed/fsdp.py",
    "loader_workers": "tuned/trial/training.py",
    "prefetch": "tuned/trial/training.py",
    "ddp_bucket_mib": "tuned/trial/distributed/ddp.py",
    "fsdp_reshard": "tuned/trial/distributed/fsdp.py",
    "sequence_parallel": "tuned/trial/distributed/tensor.py",
    "pipeline_schedule": "tuned/trial/distributed/pipeline.py",
    "pipeline_microbatches": "tuned/trial/distributed/pipeline.py",
}
"""What only the loop of the trial itself does."""


NEUTRAL: Mapping[str, Value] = {"node_class": ANY}
"""Settings that change nothing, of levers whose default is the machine's."""


def nothing(strategy: Strategy) -> Mapping[str, str]:
    """For formats that refuse no strategy."""
    return {}


def left_out(
    name: str, strategy: Strategy, arrives: Mapping[str, str], refuse: Refuse, allowed: bool
) -> Mapping[str, str]:
    """The levers that the format ``name`` cannot express, with the reason for each.

    Raises :class:`UsageError` where there are any, unless ``allowed``.
    """
    unknown = {
        lever: f"what is written for {name} does not do it"
        for lever, value in strategy.values.items()
        if lever not in arrives and not _does_nothing(lever, value)
    }
    missing = {**unknown, **refuse(strategy)}
    if missing and not allowed:
        reasons = "\n".join(
            f"  {lever} = {strategy.get(lever, '?')}: {reason}" for lever, reason in missing.items()
        )
        raise UsageError(
            f"{name} cannot express all of this strategy:\n{reasons}",
            hint="choose another format, or export without them: --allow-partial",
        )
    return missing


def _does_nothing(lever: str, value: Value) -> bool:
    """Whether a lever is at a default that is the same on every machine, and so changes nothing."""
    if lever in NEUTRAL:
        return value == NEUTRAL[lever]
    known = LEVERS.get(lever)
    return known is not None and not callable(known.default) and known.default == value
