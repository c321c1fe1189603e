"""Sizes of a task's model and data, from which memory and time of trials are predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from autotune.domain import Task, WorkloadProfile
from autotune.domain.tasks import TASK_KINDS
from autotune.trial.data.datasets import prepare_task
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.model_sources import read_config


def profile_workload(task: Task) -> WorkloadProfile:
    """The workload profile of ``task``, which is prepared first if necessary. Loads no weights.

    Raises :class:`~autotune.errors.DataError` or :class:`~autotune.errors.ModelError`, as
    :func:`~autotune.trial.data.datasets.prepare_task` does, and
    :class:`~autotune.errors.UsageError` for a loss that cannot be imported.
    """
    from autotune.measure import memory

    idle_gib = memory.peak_gib() or 0.0
    prepared = prepare_task(task)
    _require_loss(prepared)
    _require_teacher(task)
    model = _meta_model(prepared)
    config = model.config
    layers = int(config.num_hidden_layers)
    embedding, in_layers = _embedding_parameters(model), _layer_parameters(model)
    return WorkloadProfile(
        embedding_parameters=embedding,
        layer_parameters=in_layers // layers,
        head_parameters=model.num_parameters() - embedding - in_layers,
        layers=layers,
        hidden=int(config.hidden_size),
        heads=int(getattr(config, "num_attention_heads", 1)),  # FNet has no attention
        intermediate_size=int(
            _first(config, "intermediate_size", "hidden_dim") or 4 * config.hidden_size
        ),
        labels=prepared.num_labels,
        label_per_token=TASK_KINDS[prepared.kind].logits_per_token,
        dropout=bool(_first(config, "hidden_dropout_prob", "dropout", "embedding_dropout")),
        train_samples=prepared.sizes["train"],
        validation_samples=prepared.sizes["validation"],
        max_length=prepared.max_length,
        median=prepared.tokens["p50"],
        p95=prepared.tokens["p95"],
        longest=prepared.tokens["max"],
        idle_gib=idle_gib,
        steps=task.steps,
        has_fused_attention=bool(model._supports_sdpa),
        # In ALBERT, layers of a group share weights, which are counted once.
        passes_per_layer=layers / int(getattr(config, "num_hidden_groups", layers)),
    )


def profile_models(
    task: Task, models: Sequence[str] = (), max_length: int | None = None
) -> WorkloadProfile:
    """The workload profile of ``task`` with those of the other ``models`` that a study searches,
    for samples of up to ``max_length`` tokens."""
    limit = prepare_task(task).max_length
    is_longer = max_length is not None and max_length > limit
    longest = replace(task, max_length=max_length) if is_longer else task
    others = {model: profile_workload(replace(longest, model=model)) for model in models}
    profile = profile_workload(longest)
    return replace(profile, models=others, task_length=limit if is_longer else None)


def _require_loss(prepared: PreparedTask) -> None:
    """Raise :class:`~autotune.errors.UsageError` now, not in each trial, for a loss that cannot be
    imported."""
    from autotune.trial.loss import build_loss

    build_loss(prepared)


def _require_teacher(task: Task) -> None:
    """Raise :class:`~autotune.errors.ModelError` now for a teacher that cannot be used."""
    if task.teacher is not None:
        from autotune.trial.teacher import require_teacher

        require_teacher(task)


def _meta_model(prepared: PreparedTask) -> Any:
    """The model on the meta device: shapes without weights."""
    import torch

    from autotune.trial.models import model_loader

    config = read_config(prepared.model_dir, num_labels=prepared.num_labels)
    loader = model_loader(prepared)
    with torch.device("meta"):
        return loader.from_config(config) if prepared.model_class is None else loader(config)


def _embedding_parameters(model: Any) -> int:
    base = model.base_model
    names = ("embeddings", "embeddings_project")
    return sum(_count(getattr(base, name).parameters()) for name in names if hasattr(base, name))


def _layer_parameters(model: Any) -> int:
    """Parameters of all layers, which are the longest ``ModuleList`` of every encoder."""
    import torch

    lists = [m for m in model.base_model.modules() if isinstance(m, torch.nn.ModuleList)]
    return _count(max(lists, key=len).parameters()) if lists else 0


def _count(parameters: Iterable[Any]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _first(config: Any, *names: str) -> Any:
    """The value of the first of ``names`` in the config; model families use different names."""
    return next((getattr(config, name) for name in names if getattr(config, name, None)), None)
