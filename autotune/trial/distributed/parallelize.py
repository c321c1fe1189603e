"""Applies the lever ``parallelism`` to a model, in one ordered function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.domain.training import peak_learning_rate
from autotune.trial.data.batching import Indices, chunks
from autotune.trial.distributed import ddp, fsdp, gradients, tensor
from autotune.trial.distributed.collectives import DistributedGroup
from autotune.trial.distributed.weights import (
    full_state_dict,
    group_by_mesh,
    materialize,
    meta_copy,
)
from autotune.trial.effects import optimizers
from autotune.trial.effects.device_map import layers_per_second
from autotune.trial.effects.parameter_groups import parameter_groups
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.loss import Loss, output_logits
from autotune.trial.plan import TrainingPlan
from autotune.trial.state import TrainState


def parallelize(
    strategy: Strategy,
    model: PreTrainedModel,
    forward: Callable[..., Any],
    precision: Precision,
    masks: Masks | None,
    group: DistributedGroup,
    loss: Loss,
) -> TrainState:
    """Distribute ``model``, to which the strategy has been applied, over the ranks of ``group``."""
    if group.layout.model_kind == "pp":
        from autotune.trial.distributed.pipeline import build_pipeline

        return build_pipeline(strategy, model, precision, masks, group, loss)
    meta_model = meta_copy(model)
    # FSDP shards what tensor parallelism leaves.
    if group.layout.model_kind == "tp":
        shards_sequence = strategy["sequence_parallel"] is True
        tensor.shard_layers(model, group.mesh["model"], by_sequence=shards_sequence)
    if group.layout.data_kind == "fsdp":
        reshard = strategy["fsdp_reshard"] is True
        offload = strategy["offload"] == "parameters"
        fsdp.shard(
            model, group.mesh["data"], precision=precision.name, reshard=reshard, offload=offload
        )
    if masks is not None:
        masks.shard_like_weights()
    bucket_mib = int(strategy["ddp_bucket_mib"])
    # DDP does not support sharded weights or ranks of different speed. With tensor parallelism, and
    # with a CPU and a GPU as ranks, ShardedModel reduces the gradients.
    if strategy["placement"] == "mixed":
        with precision.autocast():
            group.set_rank_weights(layers_per_second(model))
    elif group.layout.data_kind in ("ddp", "zero1") and group.layout.model == 1:
        forward = ddp.replicate(strategy, model, forward, group)
    rate = peak_learning_rate(strategy)
    if group.layout.data_kind == "zero1":
        optimizer = ddp.sharded_optimizer(strategy, model, group)
    elif strategy["offload"] == "optimizer":
        optimizer = optimizers.build_for_strategy(strategy, model)
    else:
        # The kernels of optimizers cannot process weights of different meshes together.
        groups = [
            {**settings, "params": weights}
            for settings in parameter_groups(strategy, model)
            for weights in group_by_mesh(settings["params"])
        ]
        optimizer = optimizers.build_grouped_optimizer(strategy, groups)
    by_sequence = strategy["sequence_parallel"] is True and group.layout.model_kind == "tp"
    length_multiple = group.layout.model if by_sequence else 1
    sharded = ShardedModel(model, forward, meta_model, group, bucket_mib, length_multiple)
    return TrainState(
        model, forward, optimizer, precision, rate, masks, group.device, loss, group, sharded,
        float(strategy["gradient_clip"]),
    )  # fmt: skip


class ShardedModel:
    """A model whose ranks all run all layers, with their own examples or shards of the weights."""

    def __init__(
        self,
        model: PreTrainedModel,
        forward: Callable[..., Any],
        meta_model: PreTrainedModel,
        group: DistributedGroup,
        bucket_mib: int,
        length_multiple: int,
    ) -> None:
        self._length_multiple = length_multiple
        self._model, self._meta_model = model, meta_model
        self._group, self._bucket_mib = group, bucket_mib
        self._replica = forward if isinstance(forward, DistributedDataParallel) else None
        self._fsdp = model if isinstance(model, FSDPModule) else None
        self._averages_gradients = self._replica is not None or self._fsdp is not None

    def unsharded(self) -> PreTrainedModel:
        return materialize(self._meta_model, full_state_dict(self._model, self._group.device))

    def step(self, state: TrainState, plan: TrainingPlan, rows: Indices, rate: float) -> Tensor:
        """As :func:`autotune.trial.training.train_step`; ``micro_batch_size`` is per rank."""
        group, scaler = self._group, state.precision.scaler
        collate = plan.collate.padded_to(self._length_multiple)
        num_labels = collate.count_labels(rows)
        micro_batches = list(chunks(rows, plan.micro_batch_size * group.layout.data))
        total = torch.zeros((), device=group.device)
        for index, micro_batch in enumerate(micro_batches):
            local_rows, counts = group.local_rows(micro_batch)
            batch = collate(local_rows)
            with self._gradient_sync(index == len(micro_batches) - 1):
                with state.precision.autocast():
                    logits = output_logits(state.forward(**batch.inputs))
                loss = state.loss(logits, batch.labels) * (counts / num_labels)
                scaled = loss * group.layout.data if self._averages_gradients else loss
                (scaled if scaler is None else scaler.scale(scaled)).backward()
            total += loss.detach()
        clip = self._clip_function()
        optimizers.take_step(state.optimizer, state.precision, rate, state.max_gradient_norm, clip)
        if state.masks is not None:
            state.masks.apply()
        # The ranks that share one copy of the model have all computed the same loss.
        return total if group.model_rank == 0 else torch.zeros_like(total)

    def _gradient_sync(self, is_last: bool) -> AbstractContextManager[Any]:
        """Synchronise gradients only with the last micro-batch of a step."""
        if self._replica is not None and not is_last:
            return self._replica.no_sync()
        if self._fsdp is not None:
            self._fsdp.set_requires_gradient_sync(is_last)
        return nullcontext()

    def _clip_function(self) -> optimizers.ClipGradients:
        """How to clip the gradients, which are reduced here unless DDP has done so."""
        parameters = optimizers.trainable_parameters(self._model)
        if self._replica is not None:
            return optimizers.clip_gradients
        gradients.reduce_partial_gradients(parameters)
        group = self._group
        if not self._averages_gradients and group.layout.data > 1:
            gradients.all_reduce_gradients(
                parameters, group.data_group, self._bucket_mib, group.comm_device
            )
        return partial(gradients.clip_sharded_gradients, stage_group=None)
