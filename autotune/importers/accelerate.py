"""Accelerate's configuration file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from autotune.importers.base import ImportedConfig, unsupported_options

SECTIONS = ("fsdp_config", "deepspeed_config", "megatron_lm_config", "parallelism_config")

READ = {
    "compute_environment", "distributed_type", "num_processes", "num_machines", "mixed_precision",
    "use_cpu", "dynamo_config", *SECTIONS,
}  # fmt: skip

ANYWAY: Mapping[str, Any] = {
    "machine_rank": 0,
    "main_training_function": "main",
    "rdzv_backend": "static",
    "same_network": True,
    "downcast_bf16": "no",
    "gpu_ids": "all",
}
"""What Accelerate writes where nothing was chosen."""

DYNAMO_ANYWAY: Mapping[str, Any] = {"dynamo_backend": "INDUCTOR", "dynamo_mode": "default"}
"""How trials compile; whether for all lengths (``dynamo_use_dynamic``) follows from padding."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Every key as a lever, or left with the reason."""
    found = ImportedConfig("Accelerate's configuration")
    precision = document.get("mixed_precision", "no")
    if precision in ("bf16", "fp16"):
        found.levers["precision"] = precision
    elif precision not in (None, "no"):
        found.skipped["mixed_precision"] = f"there is no precision {precision} to search"
    if document.get("use_cpu"):
        found.levers["device"] = "cpu"
    dynamo = document.get("dynamo_config") or {}
    if dynamo.get("dynamo_backend", "NO") != "NO":
        found.levers["compile"] = True
        given = {key: value for key, value in dynamo.items() if key != "dynamo_use_dynamic"}
        unsupported_options(found, "dynamo_config.", given, DYNAMO_ANYWAY)
    _processes(found, document)
    if int(document.get("num_machines") or 1) > 1:
        found.skipped["num_machines"] = "a trial runs on one machine; see docs/cluster.md"
    unread = {
        key: value
        for key, value in document.items()
        if key not in READ and value != ANYWAY.get(key)
    }
    unsupported_options(found, "", unread, {})
    return found


def _processes(found: ImportedConfig, document: Mapping[str, Any]) -> None:
    """How many processes there are, and what each of them holds."""
    kind = str(document.get("distributed_type", "NO")).upper()
    processes = int(document.get("num_processes") or 1)
    if kind == "MULTI_CPU":
        found.levers["device"] = "cpu"
    sharded = kind == "FSDP"
    if processes > 1:
        if kind in ("NO", "FSDP") or kind.startswith("MULTI_"):
            found.levers["parallelism"] = f"{'fsdp' if sharded else 'ddp'}:{processes}"
            # As the launcher deals them out; all cores for every process are no valid strategy.
            cores = os.cpu_count() or 1 if found.levers.get("device") == "cpu" else 1
            found.levers["threads"] = max(1, cores // processes)
        else:
            found.skipped["num_processes"] = f"{processes} of {kind}: no setting of parallelism"
    for section in SECTIONS:
        if document.get(section):
            found.skipped[section] = "give the file of that trainer instead"
    if sharded:
        found.skipped.pop("fsdp_config", None)
        _fsdp(found, document.get("fsdp_config") or {}, processes)


def _fsdp(found: ImportedConfig, config: Mapping[str, Any], processes: int) -> None:
    """Accelerate's ``fsdp_config``, in the words of FSDP 1 or 2."""
    left = {key.removeprefix("fsdp_"): value for key, value in config.items()}
    if left.pop("offload_params", False):
        found.levers["offload"] = "parameters"
    if left.pop("activation_checkpointing", False):
        found.levers["activation_checkpointing"] = True
    # In FSDP 1 the sharding strategy says it, also under the name of reshard_after_forward.
    kept = {"SHARD_GRAD_OP", "2", "FALSE"}
    told = {str(left.get(key)).upper() for key in ("sharding_strategy", "reshard_after_forward")}
    if told & kept and processes > 1:
        found.levers["fsdp_reshard"] = False
    for key in ("sharding_strategy", "reshard_after_forward"):
        if str(left.get(key)).upper() in {*kept, "FULL_SHARD", "1", "TRUE"}:
            left.pop(key)
    unsupported_options(found, "fsdp_config.fsdp_", left, {"version": 2})
