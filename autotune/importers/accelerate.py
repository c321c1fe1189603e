"""Reads Accelerate's configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.hardware.cores import usable_cores
from autotune.importers.base import (
    RECORDED_GRAPHS,
    ImportedConfig,
    pop_int,
    section,
    skip_unsupported,
)
from autotune.levers.numerics import GRAPH_MODE

TRAINER_SECTIONS = (
    "fsdp_config", "deepspeed_config", "megatron_lm_config", "parallelism_config",
)  # fmt: skip

READ_KEYS = {
    "compute_environment", "distributed_type", "num_processes", "num_machines", "mixed_precision",
    "use_cpu", "dynamo_config", *TRAINER_SECTIONS,
}  # fmt: skip

DEFAULTS: Mapping[str, Any] = {
    "machine_rank": 0,
    "main_training_function": "main",
    "rdzv_backend": "static",
    "same_network": True,
    "downcast_bf16": "no",
    "gpu_ids": "all",
}
"""Values that Accelerate writes where the user chose nothing."""

COMPILE_DEFAULTS: Mapping[str, Any] = {"dynamo_backend": "INDUCTOR", "dynamo_mode": "default"}
"""How trials compile. ``dynamo_use_dynamic`` follows from the lever ``padding``."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Translate every key into a lever, or skip it with a reason."""
    config = ImportedConfig("Accelerate's configuration")
    precision = document.get("mixed_precision", "no")
    if precision in ("bf16", "fp16"):
        config.levers["precision"] = precision
    elif precision not in (None, "no"):
        config.skipped["mixed_precision"] = f"the lever precision has no setting {precision}"
    if document.get("use_cpu"):
        config.levers["device"] = "cpu"
    dynamo = section(document, "dynamo_config")
    if dynamo.get("dynamo_backend", "NO") != "NO":
        config.levers["compile"] = True
        options = {key: value for key, value in dynamo.items() if key != "dynamo_use_dynamic"}
        skip_unsupported(config, "dynamo_config.", options, COMPILE_DEFAULTS)
        if dynamo.get("dynamo_mode") == GRAPH_MODE:
            config.skipped["dynamo_config.dynamo_mode"] = RECORDED_GRAPHS
    _read_processes(config, document)
    if pop_int(dict(document), "num_machines", 1) > 1:
        config.skipped["num_machines"] = "imported trials use one machine; see docs/cluster.md"
    options = {
        key: value
        for key, value in document.items()
        if key not in READ_KEYS and value != DEFAULTS.get(key)
    }
    skip_unsupported(config, "", options, {})
    return config


def _read_processes(config: ImportedConfig, document: Mapping[str, Any]) -> None:
    """Set the levers ``device``, ``parallelism`` and ``threads``."""
    kind = str(document.get("distributed_type", "NO")).upper()
    num_processes = pop_int(dict(document), "num_processes", 1)
    if kind == "MULTI_CPU":
        config.levers["device"] = "cpu"
    is_fsdp = kind == "FSDP"
    if num_processes > 1:
        if kind in ("NO", "FSDP") or kind.startswith("MULTI_"):
            config.levers["parallelism"] = f"{'fsdp' if is_fsdp else 'ddp'}:{num_processes}"
            # As the launcher divides them: all cores for every process is not a valid strategy.
            cores = len(usable_cores()) if config.levers.get("device") == "cpu" else 1
            config.levers["threads"] = max(1, cores // num_processes)
        else:
            reason = f"{num_processes} processes of {kind}: parallelism has no such setting"
            config.skipped["num_processes"] = reason
    for key in TRAINER_SECTIONS:
        if document.get(key):
            config.skipped[key] = "import the configuration file of that trainer instead"
    if is_fsdp:
        config.skipped.pop("fsdp_config", None)
        _read_fsdp(config, section(document, "fsdp_config"), num_processes)


def _read_fsdp(config: ImportedConfig, settings: Mapping[str, Any], num_processes: int) -> None:
    """Read ``fsdp_config``, for FSDP 1 or 2."""
    options = {key.removeprefix("fsdp_"): value for key, value in settings.items()}
    if options.pop("offload_params", False):
        config.levers["offload"] = "parameters"
    if options.pop("activation_checkpointing", False):
        config.levers["activation_checkpointing"] = True
    # FSDP 1 has this in the sharding strategy, also under the name reshard_after_forward.
    keys = ("sharding_strategy", "reshard_after_forward")
    no_reshard, reshard = {"SHARD_GRAD_OP", "2", "FALSE"}, {"FULL_SHARD", "1", "TRUE"}
    if {str(options.get(key)).upper() for key in keys} & no_reshard and num_processes > 1:
        config.levers["fsdp_reshard"] = False
    for key in keys:
        if str(options.get(key)).upper() in no_reshard | reshard:
            options.pop(key)
    skip_unsupported(config, "fsdp_config.fsdp_", options, {"version": 2})
