"""``autotune import``: from a trainer's own configuration to a study that starts where it is.

A format is told by the names in the file. What has no lever is listed, never lost in silence.
"""

from __future__ import annotations

import json
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

SILENT = {
    "output_dir", "use_cpu", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm",
    "save_strategy", "eval_strategy", "logging_steps", "logging_nan_inf_filter", "report_to",
    "remove_unused_columns", "dataloader_pin_memory", "activation_checkpointing_kwargs",
    "gradient_checkpointing_kwargs", "ddp_backend", "ddp_bucket_cap_mb",
}  # fmt: skip
"""Fields that say nothing about speed, or what every trial does anyway at these values."""

ANYWAY: Mapping[str, Any] = {
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}
"""What trials always do; another value is said to be left."""


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
    if left.pop("train_sampling_strategy", None) == "group_by_length":
        levers["padding"] = "bucketed"
    if left.get("use_cpu"):
        levers["device"] = "cpu"
    if workers := int(left.pop("dataloader_num_workers", 0)):
        levers["loader_workers"] = workers
        levers["prefetch"] = int(left.pop("dataloader_prefetch_factor", None) or 2)
    _length(found, left)
    _rest(found, left)
    return found


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
    if (document.get("dynamo_config") or {}).get("dynamo_backend", "NO") != "NO":
        found.levers["compile"] = True
    processes = int(document.get("num_processes") or 1)
    if processes > 1:
        _parallel(found, f"ddp:{processes}", "num_processes")
    if int(document.get("num_machines") or 1) > 1:
        found.left["num_machines"] = "a trial runs on one machine; see docs/cluster.md"
    for section in ("fsdp_config", "deepspeed_config", "megatron_lm_config", "parallelism_config"):
        if document.get(section):
            found.left[section] = "give the file of that trainer instead"
    return found


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
    rate = _number((optimizer.get("params") or {}).get("lr"), 0.0)
    if rate:
        found.levers["learning_rate"] = float(rate)
    if optimizer.get("type") in NAMED_OPTIMIZERS:
        found.levers["optimizer"] = NAMED_OPTIMIZERS[optimizer["type"]]
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
