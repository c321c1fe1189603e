"""``autotune import``: from a trainer's own configuration to a study that starts where it is.

A format is told by the names in the file. What has no lever is listed, never lost in silence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autotune.domain import Value
from autotune.errors import UsageError
from autotune.export.hf_trainer import OPTIMIZERS
from autotune.spec import starter

NAMED_OPTIMIZERS = {
    **{name: lever for lever, name in OPTIMIZERS.items()},
    "adamw_torch": "adamw",
    "AdamW": "adamw-fused",
    "Adam": "adamw-fused",
    "SGD": "sgd",
}


@dataclass
class Imported:
    """Levers as the file sets them, keys of the task, and what was not taken, with the reason."""

    source: str
    levers: dict[str, Value] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def read_configuration(path: Path) -> Imported:
    """Read a TrainingArguments JSON, an Accelerate YAML or a DeepSpeed JSON.

    Raises :class:`UsageError` where the file is none of these.
    """
    document = _document(path)
    for told_by, read in READERS.items():
        if told_by & document.keys():
            try:
                return read(document)
            except (AttributeError, TypeError, ValueError) as error:
                raise UsageError(
                    f"{path}: a value is not of the kind that its setting takes: {error}",
                    hint="would the trainer itself read it?",
                ) from error
    raise UsageError(
        f"{path}: neither TrainingArguments, nor Accelerate's, nor DeepSpeed's configuration",
        hint="give training_args.json, an accelerate config YAML, or ds_config.json",
    )


def study_file(imported: Imported, name: str) -> str:
    """A study file that tries the imported strategy right after the default."""
    strategy = ", ".join(f"{lever}: {_yaml(value)}" for lever, value in imported.levers.items())
    lines = [f"#   {key}: {reason}" for key, reason in imported.left.items()]
    left = ["", "# Not taken from there:", *lines] if lines else []
    head = [f"# Made from {imported.source} by autotune import.", *left, ""]
    text = starter(name)
    for key, value in imported.task.items():
        text = _with_task_key(text, key, value)
    comment = "# Strategies to try before the sampler proposes its own.\n"
    before, _, after = text.partition(comment)
    rest = after.partition("\n\n")[2]
    started = f"# Where you are now: measured first.\nstart_with:\n  - {{{strategy}}}\n\n"
    return "\n".join(head) + before + started + rest


def _with_task_key(text: str, key: str, value: Any) -> str:
    """``text`` with ``key`` of the task set, whatever it said of it."""
    lines = text.splitlines(keepends=True)
    start = lines.index("task:\n") + 1
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("  "))
    gone = {"steps": "epochs", "epochs": "steps"}
    kept = [
        line
        for line in lines[start:end]
        if not line.strip().startswith((f"{key}:", f"{gone.get(key, key)}:"))
    ]
    return "".join([*lines[:start], *kept, f"  {key}: {_yaml(value)}\n", *lines[end:]])


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def _document(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a file that is there") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {error}", hint="is it whole?") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: holds no settings by name", hint="give the trainer's own file")
    return document


DEEPSPEED_READ = {
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
    "gradient_clipping", "optimizer", "fp16", "bf16", "torch_autocast", "zero_optimization",
    "steps_per_print", "wall_clock_breakdown", "dump_state",
}  # fmt: skip
"""Keys that are read, and those that only say what is printed."""

SECTIONS = ("fsdp_config", "deepspeed_config", "megatron_lm_config", "parallelism_config")

SILENT = {
    "output_dir", "use_cpu", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm",
    "save_strategy", "eval_strategy", "logging_steps", "logging_nan_inf_filter", "report_to",
    "remove_unused_columns", "activation_checkpointing_kwargs",
    "gradient_checkpointing_kwargs", "ddp_backend",
}  # fmt: skip
"""Fields that say nothing about speed, or what every trial does anyway at these values."""

ANYWAY: Mapping[str, Any] = {
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}
"""What trials always do; another value is said to be left."""

OPTIMIZERS_ANYWAY: Mapping[str, Any] = {
    "weight_decay": 0.0,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "momentum": 0.9,
    "adam_w_mode": True,
}
"""The same, of the parameters of DeepSpeed's optimizers."""

ACCELERATE_READ = {
    "compute_environment", "distributed_type", "num_processes", "num_machines", "mixed_precision",
    "use_cpu", "dynamo_config", *SECTIONS,
}  # fmt: skip

ACCELERATE_ANYWAY: Mapping[str, Any] = {
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

TORCHS_BUCKET = 25
"""MiB of gradients that torch sends together where nothing is said."""


def _training_arguments(document: Mapping[str, Any]) -> Imported:
    found = Imported("TrainingArguments")
    levers, left = found.levers, dict(document)
    micro = int(left.pop("per_device_train_batch_size", 8))
    accumulation = int(left.pop("gradient_accumulation_steps", 1))
    _batch(levers, micro, accumulation)
    levers["learning_rate"] = float(left.pop("learning_rate", 5e-5))
    optimizer = str(left.pop("optim", "adamw_torch_fused"))
    if optimizer in NAMED_OPTIMIZERS:
        levers["optimizer"] = NAMED_OPTIMIZERS[optimizer]
    else:
        found.left["optim"] = f"there is no optimizer {optimizer} to search"
    _precision(levers, left)
    if left.pop("torch_compile", False):
        levers["compile"] = True
    flags = ("activation_checkpointing", "gradient_checkpointing")
    if True in [left.pop(flag, False) for flag in flags]:
        levers["activation_checkpointing"] = True
    _sampling(found, left)
    on_cpu = bool(left.get("use_cpu"))
    if on_cpu:
        levers["device"] = "cpu"
    if left.pop("dataloader_pin_memory", True) is False and not on_cpu:
        levers["pinned_memory"] = False
    bucket = left.pop("ddp_bucket_cap_mb", None)
    if bucket not in (None, TORCHS_BUCKET):
        # Without parallelism a study file that sets it would not be valid.
        found.left["ddp_bucket_cap_mb"] = (
            f"is ddp_bucket_mib: {bucket} beside a parallelism; it says not over how many processes"
        )
    if workers := int(left.pop("dataloader_num_workers", 0)):
        levers["loader_workers"] = workers
        levers["prefetch"] = int(left.pop("dataloader_prefetch_factor", None) or 2)
    _length(found, left)
    _rest(found, left)
    return found


def _sampling(found: Imported, left: dict[str, Any]) -> None:
    """Batches of like length, by the name of transformers 5 or of those before."""
    sampling = left.pop("train_sampling_strategy", "random")
    grouped = left.pop("group_by_length", False)
    if grouped or sampling == "group_by_length":
        found.levers["padding"] = "bucketed"
    elif sampling != "random":
        found.left["train_sampling_strategy"] = f"trials do not draw examples by {sampling}"


def _precision(levers: dict[str, Value], left: dict[str, Any]) -> None:
    for name in ("fp16", "bf16", "tf32"):
        if left.pop(name, False):
            levers["precision"] = name


def _length(found: Imported, left: dict[str, Any]) -> None:
    steps, epochs = left.pop("max_steps", -1), left.pop("num_train_epochs", 3.0)
    if steps and steps > 0:
        found.task["steps"] = int(steps)
    else:
        found.task["epochs"] = float(epochs)
    if "seed" in left:
        found.task["seed"] = int(left.pop("seed"))


def _rest(found: Imported, left: Mapping[str, Any]) -> None:
    for key, value in left.items():
        if key in ANYWAY and value != ANYWAY[key]:
            found.left[key] = f"is {value}; trials always have {ANYWAY[key]}"
        elif key not in SILENT and value not in (None, False, -1, ""):
            found.left[key] = "no lever stands for it"


def _batch(levers: dict[str, Value], micro: int, accumulation: int) -> None:
    levers["batch_size"] = micro * accumulation
    if accumulation > 1:
        levers["micro_batch_size"] = micro


def _accelerate(document: Mapping[str, Any]) -> Imported:
    found = Imported("Accelerate's configuration")
    precision = document.get("mixed_precision", "no")
    if precision in ("bf16", "fp16"):
        found.levers["precision"] = precision
    elif precision not in (None, "no"):
        found.left["mixed_precision"] = f"there is no precision {precision} to search"
    if document.get("use_cpu"):
        found.levers["device"] = "cpu"
    dynamo = document.get("dynamo_config") or {}
    if dynamo.get("dynamo_backend", "NO") != "NO":
        found.levers["compile"] = True
        given = {key: value for key, value in dynamo.items() if key != "dynamo_use_dynamic"}
        _unlike(found, "dynamo_config.", given, DYNAMO_ANYWAY)
    _accelerate_processes(found, document)
    if int(document.get("num_machines") or 1) > 1:
        found.left["num_machines"] = "a trial runs on one machine; see docs/cluster.md"
    unread = {
        key: value
        for key, value in document.items()
        if key not in ACCELERATE_READ and value != ACCELERATE_ANYWAY.get(key)
    }
    _unlike(found, "", unread, {})
    return found


def _accelerate_processes(found: Imported, document: Mapping[str, Any]) -> None:
    """How many processes there are, and what each of them holds."""
    kind = str(document.get("distributed_type", "NO")).upper()
    processes = int(document.get("num_processes") or 1)
    if kind == "MULTI_CPU":
        found.levers["device"] = "cpu"
    sharded = kind == "FSDP"
    if processes > 1:
        if kind in ("NO", "FSDP") or kind.startswith("MULTI_"):
            _parallel(found, f"{'fsdp' if sharded else 'ddp'}:{processes}", "num_processes")
            # As the launcher deals them out; all cores for every process are no valid strategy.
            cores = os.cpu_count() or 1 if found.levers.get("device") == "cpu" else 1
            found.levers["threads"] = max(1, cores // processes)
        else:
            found.left["num_processes"] = f"{processes} of {kind}: no setting of parallelism"
    for section in SECTIONS:
        if document.get(section):
            found.left[section] = "give the file of that trainer instead"
    if sharded:
        found.left.pop("fsdp_config", None)
        _fsdp(found, document.get("fsdp_config") or {}, processes)


def _fsdp(found: Imported, config: Mapping[str, Any], processes: int) -> None:
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
    _unlike(found, "fsdp_config.fsdp_", left, {"version": 2})


def _unlike(
    found: Imported, prefix: str, given: Mapping[str, Any], anyway: Mapping[str, Any]
) -> None:
    """List what of ``given`` no lever stands for and trials do not do anyway."""
    for key, value in given.items():
        if key in anyway:
            if value not in (None, "auto", anyway[key]):
                found.left[prefix + key] = f"is {value}; trials always have {anyway[key]}"
        elif value not in (None, False, "", "no", [], {}):
            found.left[prefix + key] = "no lever stands for it"


def _deepspeed(document: Mapping[str, Any]) -> Imported:
    found = Imported("DeepSpeed's configuration")
    whole = int(_number(document.get("train_batch_size"), 0))
    micro = int(_number(document.get("train_micro_batch_size_per_gpu"), 0))
    steps = document.get("gradient_accumulation_steps")
    if micro:
        _batch(found.levers, micro, int(_number(steps, 1)))
    if whole:
        found.levers["batch_size"] = whole
        if 0 < micro < whole and steps is None:
            found.left["train_micro_batch_size_per_gpu"] = "it says not over how many processes"
    optimizer = document.get("optimizer") or {}
    parameters = dict(optimizer.get("params") or {})
    rate = _number(parameters.pop("lr", None), 0.0)
    if rate:
        found.levers["learning_rate"] = float(rate)
    if optimizer.get("type") in NAMED_OPTIMIZERS:
        plain = parameters.pop("torch_adam", False) is True
        found.levers["optimizer"] = "adamw" if plain else NAMED_OPTIMIZERS[optimizer["type"]]
        _unlike(found, "optimizer.params.", parameters, OPTIMIZERS_ANYWAY)
    elif optimizer:
        found.left["optimizer"] = f"there is no optimizer {optimizer.get('type')} to search"
    _deepspeed_precision(found, document)
    _deepspeed_zero(found, document.get("zero_optimization") or {})
    if _number(document.get("gradient_clipping"), 0.0) != 1.0:
        found.left["gradient_clipping"] = "trials always have 1.0"
    for key, value in document.items():
        if key not in DEEPSPEED_READ and value and value != {"enabled": False}:
            found.left[key] = "no lever stands for it"
    return found


def _deepspeed_zero(found: Imported, zero: Mapping[str, Any]) -> None:
    stage = int(_number(zero.get("stage"), 0))
    if stage:
        found.left["zero_optimization"] = f"stage {stage}: it says not over how many processes"
    for section, setting in (("offload_optimizer", "optimizer"), ("offload_param", "parameters")):
        if (zero.get(section) or {}).get("device", "none") != "none":
            found.levers["offload"] = setting


def _deepspeed_precision(found: Imported, document: Mapping[str, Any]) -> None:
    for section, name in (("fp16", "fp16"), ("bf16", "bf16-pure"), ("torch_autocast", "bf16")):
        if (document.get(section) or {}).get("enabled") is True:
            found.levers["precision"] = name


def _number(value: Any, otherwise: float) -> float:
    """A number, or ``otherwise`` where DeepSpeed is to find it (``auto``)."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _parallel(found: Imported, setting: str, key: str) -> None:
    from autotune.levers import LEVERS

    if "parallelism" in LEVERS:
        found.levers["parallelism"] = setting
    else:
        found.left[key] = "trials run in one process"


READERS: Mapping[frozenset[str], Callable[[Mapping[str, Any]], Imported]] = {
    frozenset({"per_device_train_batch_size", "output_dir"}): _training_arguments,
    frozenset({"compute_environment", "distributed_type"}): _accelerate,
    frozenset({"train_micro_batch_size_per_gpu", "train_batch_size"}): _deepspeed,
}
