"""Reads ``adapter_config.json`` of peft: LoRA, AdaLoRA, DoRA and IA3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autotune.domain.training import ADALORA_INITIAL_RANKS
from autotune.importers.base import NO_LEVER, ImportedConfig, pop_int

ADAPTERS = {"LORA": "lora", "ADALORA": "adalora", "IA3": "ia3"}
"""Settings of the lever ``adapter`` by ``peft_type``."""

DEFAULT_RANK, DEFAULT_ALPHA = 8, 8
"""Those of peft's ``LoraConfig`` and ``AdaLoraConfig``."""

ATTENTION_NAMES = {"query", "value", "q_lin", "v_lin", "q_proj", "v_proj"}
"""Names of the modules of the setting ``attention`` of the lever ``adapter_targets``."""

IGNORED_KEYS = {
    "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "task_type",
    "modules_to_save", "peft_version", "feedforward_modules", "runtime_config", "corda_config",
    "eva_config", "loftq_config", "megatron_core", "megatron_config", "ensure_weight_tying",
    "arrow_config", "qalora_group_size", "trainable_token_indices", "total_step", "rank_pattern",
}  # fmt: skip
"""Keys without influence on training, or that are read elsewhere."""

DEFAULTS: Mapping[str, Any] = {
    "bias": "none", "init_lora_weights": True, "init_ia3_weights": True,
    "deltaT": 1, "beta1": 0.85, "beta2": 0.85, "orth_reg_weight": 0.5,
}  # fmt: skip
"""Values that mean the same as no entry."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Translate an adapter into levers, or skip it with a reason."""
    config, options = ImportedConfig("an adapter of peft"), dict(document)
    kind = str(options.pop("peft_type"))
    targets, is_dora = options.pop("target_modules", None), options.pop("use_dora", False)
    if kind not in ADAPTERS:
        config.skipped["peft_type"] = f"the lever adapter has no setting {kind}"
        return config
    config.levers["adapter"] = "dora" if is_dora else ADAPTERS[kind]
    if kind != "IA3":
        rank = pop_int(options, _pop_rank_key(options, kind), DEFAULT_RANK, minimum=1)
        config.levers["adapter_rank"] = rank
        config.levers["adapter_alpha"] = pop_int(options, "lora_alpha", DEFAULT_ALPHA, minimum=1)
        if not _is_attention(targets):
            config.levers["adapter_targets"] = "all"
    for key, value in options.items():
        is_default = value in (None, False, 0, "", [], {}) or value == DEFAULTS.get(key)
        if not is_default and key not in IGNORED_KEYS:
            config.skipped[key] = NO_LEVER
    return config


def _pop_rank_key(options: dict[str, Any], kind: str) -> str:
    """The key of the rank. AdaLoRA ignores ``r``, and starts with half as many ranks more by
    default, as the lever does."""
    if kind != "ADALORA":
        return "r"
    options.pop("r", None)
    target = options.get("target_r", DEFAULT_RANK)
    if isinstance(target, int) and options.get("init_r") == math.ceil(
        ADALORA_INITIAL_RANKS * target
    ):
        del options["init_r"]
    return "target_r"


def _is_attention(targets: Any) -> bool:
    """Whether only queries and values are updated, as by peft's defaults for encoders."""
    if targets is None:
        return True
    names = targets if isinstance(targets, list) else [targets]
    return all(str(name).rpartition(".")[2] in ATTENTION_NAMES for name in names)
