"""Reads ``adapter_config.json`` of peft: LoRA, AdaLoRA, DoRA and IA3."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autotune.domain.training import ADALORA_INITIAL_RANKS
from autotune.importers.base import NO_LEVER, ImportedConfig, pop_int

ADAPTERS = {"LORA": "lora", "ADALORA": "adalora", "IA3": "ia3"}
"""Settings of the lever ``adapter`` by ``peft_type``."""

DEFAULT_RANK, DEFAULT_ALPHA = 8, 8
"""Those of peft's ``LoraConfig`` and ``AdaLoraConfig``."""

LAYERS = (
    ("attention.self.query", "attention.self.key", "attention.self.value",
     "attention.output.dense", "intermediate.dense", "output.dense"),
    ("attention.q_lin", "attention.k_lin", "attention.v_lin",
     "attention.out_lin", "ffn.lin1", "ffn.lin2"),
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
     "self_attn.out_proj", "fc1", "fc2"),
)  # fmt: skip
"""Paths of the matrices of a layer in BERT, in DistilBERT, and in models with the names of BART:
query, key, value and output of the attention, and the two of the feed-forward part."""

QUERY, KEY, VALUE, ATTENTION_OUTPUT, FFN_IN, FFN_OUT = range(6)

UPDATED_MATRICES = {
    "attention": frozenset({QUERY, VALUE}),
    "all": frozenset({QUERY, KEY, VALUE, ATTENTION_OUTPUT, FFN_IN, FFN_OUT}),
}
"""The matrices that a setting of the lever ``adapter_targets`` updates."""

SCALED_MATRICES = frozenset({KEY, VALUE, FFN_OUT})
"""The matrices that the setting ``ia3`` of the lever ``adapter`` scales."""

HEADS = {"classifier", "pooler", "pre_classifier", "qa_outputs", "score"}
"""Modules that trials with an adapter train too."""

IGNORED_KEYS = {
    "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "task_type",
    "peft_version", "feedforward_modules", "runtime_config", "corda_config",
    "eva_config", "loftq_config", "megatron_core", "megatron_config", "ensure_weight_tying",
    "arrow_config", "qalora_group_size", "total_step",
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
    if kind == "IA3":
        _compare_scaled_matrices(config, targets)
    else:
        rank = pop_int(options, _pop_rank_key(options, kind), DEFAULT_RANK, minimum=1)
        config.levers["adapter_rank"] = rank
        config.levers["adapter_alpha"] = pop_int(options, "lora_alpha", DEFAULT_ALPHA, minimum=1)
        _set_updated_matrices(config, targets)
    for key, value in options.items():
        is_default = value in (None, False, 0, "", [], {}) or value == DEFAULTS.get(key)
        if not is_default and not _is_ignored(kind, key, value):
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


def _set_updated_matrices(config: ImportedConfig, targets: Any) -> None:
    """Set the lever ``adapter_targets`` to the setting that is nearest to ``targets``, and say so
    where it differs."""
    if targets is None:  # peft's default for encoders: query and value
        return
    if targets == "all-linear":
        config.levers["adapter_targets"] = "all"
        return
    matrices, is_complete = _find_matrices(targets)
    nearest = min(UPDATED_MATRICES, key=lambda name: len(UPDATED_MATRICES[name] ^ matrices))
    if nearest != "attention":
        config.levers["adapter_targets"] = nearest
    if not is_complete or matrices != UPDATED_MATRICES[nearest]:
        config.skipped["target_modules"] = (
            "the lever adapter_targets has attention (query and value) and all (the six matrices "
            f"of a layer); {nearest} is the nearest"
        )


def _compare_scaled_matrices(config: ImportedConfig, targets: Any) -> None:
    """Say so where the lever ``adapter: ia3`` scales other matrices than ``targets``."""
    if targets is not None and _find_matrices(targets) != (SCALED_MATRICES, True):
        config.skipped["target_modules"] = (
            "the lever adapter: ia3 always scales key, value and the second matrix of the "
            "feed-forward part"
        )


def _find_matrices(targets: Any) -> tuple[frozenset[int], bool]:
    """The matrices of each layer that ``targets`` name, and whether all of ``targets`` name one. As
    in peft, a target is the end of a path."""
    names = [str(target) for target in targets] if isinstance(targets, list) else [str(targets)]
    paths = max(LAYERS, key=lambda paths: len(_matching(paths, names)))
    is_complete = all(_matching(paths, [name]) for name in names)
    return _matching(paths, names), is_complete


def _matching(paths: Sequence[str], names: Iterable[str]) -> frozenset[int]:
    endings = tuple(f".{name}" for name in names)
    return frozenset(index for index, path in enumerate(paths) if f".{path}".endswith(endings))


def _is_ignored(kind: str, key: str, value: Any) -> bool:
    """Whether a setting does not change what is trained in trials with this adapter."""
    if key == "modules_to_save":
        return isinstance(value, list) and all(name in HEADS for name in value)
    if key == "rank_pattern":
        return kind == "ADALORA"  # the ranks that its training has left
    return key in IGNORED_KEYS
