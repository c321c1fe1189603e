"""Kind ``pp``: each rank holds some of the layers; batches pass through them in micro-batches.

The micro-batches of a pipeline (``pipeline_microbatches``) divide a micro-batch of the strategy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
)
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.domain.training import peak_learning_rate
from autotune.errors import Unsupported
from autotune.trial.data.batching import Collator, Indices, chunks
from autotune.trial.distributed import gradients
from autotune.trial.distributed.collectives import DistributedGroup
from autotune.trial.distributed.stages import Stage, build_stage
from autotune.trial.distributed.weights import materialize, meta_copy
from autotune.trial.effects import allocator, optimizers
from autotune.trial.effects.device_map import TIMED_SHAPE, preserve_rng, time_layer, time_module
from autotune.trial.effects.parameter_groups import parameter_groups, restrict
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.encoder import Encoder, encoder_of
from autotune.trial.loss import Loss
from autotune.trial.plan import TrainingPlan
from autotune.trial.state import TrainState
from autotune.trial.tasks.base import ignored_label, is_evaluated

LENGTH_MULTIPLE = 32
"""Stages negotiate shapes once per length; rounding lengths up keeps the number of shapes low."""


def build_pipeline(
    strategy: Strategy,
    model: PreTrainedModel,
    precision: Precision,
    masks: Masks | None,
    group: DistributedGroup,
    loss: Loss,
) -> TrainState:
    """Build this rank's stages of ``model``. Raises :class:`Unsupported` if there are more stages
    than layers."""
    schedule_name = str(strategy["pipeline_schedule"])
    num_ranks = group.layout.model
    num_stages = num_ranks * (2 if schedule_name == "interleaved" else 1)
    stage_layers = balance_stages(_measure_costs(model, precision, group), num_stages)
    meta_model = meta_copy(model)
    stages = [
        build_stage(model, stage_layers, index, precision)
        for index in range(group.model_rank, num_stages, num_ranks)
    ]
    local_model = nn.ModuleList(stages)
    if masks is not None:
        masks.restrict_to(local_model)
    allocator.trim()  # timing the layers has freed memory
    rate = peak_learning_rate(strategy)
    groups = restrict(parameter_groups(strategy, model), [*local_model.parameters()])
    optimizer = optimizers.build_grouped_optimizer(strategy, groups)
    pipelined = PipelinedModel(
        stages,
        stage_layers,
        meta_model,
        group,
        loss,
        schedule_name=schedule_name,
        num_microbatches=int(strategy["pipeline_microbatches"]),
        bucket_mib=int(strategy["ddp_bucket_mib"]),
    )
    return TrainState(
        cast(PreTrainedModel, local_model), local_model, optimizer, precision, rate, masks,
        group.device, loss, group, pipelined, float(strategy["gradient_clip"]),
    )  # fmt: skip


class PipelinedModel:
    """The stages of this rank, and the schedules that coordinate them with those of other ranks."""

    def __init__(
        self,
        stages: Sequence[Stage],
        stage_layers: Sequence[range],
        meta_model: PreTrainedModel,
        group: DistributedGroup,
        loss: Loss,
        *,
        schedule_name: str,
        num_microbatches: int,
        bucket_mib: int,
    ) -> None:
        self._stages, self._stage_layers, self._meta_model = stages, stage_layers, meta_model
        self._schedule_name, self._num_microbatches = schedule_name, num_microbatches
        self._group, self._loss, self._bucket_mib = group, loss, bucket_mib
        self._schedules: dict[tuple[int, int], Any] = {}
        self._num_labels, self._has_padding = 1, False

    def unsharded(self) -> PreTrainedModel:
        """Every stage broadcasts its weights to all ranks of its copy of the model. The weights of
        a rank's own stages are shared, not copied."""
        local_states = {stage.index: dict(stage.model.state_dict()) for stage in self._stages}
        state: dict[str, Tensor] = {}
        meta_state = self._meta_model.state_dict()
        for (name, meta_weight), stage in zip(
            meta_state.items(), self._weight_stages(), strict=True
        ):
            local_state = local_states.get(stage)
            if local_state is None:
                tensor = torch.empty_like(meta_weight, device=self._group.device)
            else:
                tensor = local_state[name].detach()
            rank = stage % self._group.layout.model
            dist.broadcast(tensor, group=self._group.model_group, group_src=rank)
            state[name] = tensor
        return materialize(self._meta_model, state)

    def _weight_stages(self) -> Iterator[int]:
        """The stage of each weight: that of its layer, the first for the embeddings, the last for
        everything after the layers."""
        encoder = encoder_of(self._meta_model)
        stages = {
            id(weight): stage
            for stage, layers in enumerate(self._stage_layers)
            for layer in layers
            for weight in encoder.module_list[layer].parameters()
        }
        stages |= {id(weight): 0 for part in encoder.embeddings for weight in part.parameters()}
        for weight in self._meta_model.state_dict(keep_vars=True).values():
            yield stages.get(id(weight), len(self._stage_layers) - 1)

    def step(self, state: TrainState, plan: TrainingPlan, rows: Indices, rate: float) -> Tensor:
        """As :func:`autotune.trial.training.train_step`. The loss is that of the last stage."""
        group = self._group
        self._num_labels = plan.collate.count_labels(rows)
        total = torch.zeros((), device=group.device)
        rank_batch_size = math.ceil(plan.batch_size / group.layout.data)
        rank_micro_batch_size = min(plan.micro_batch_size, rank_batch_size)
        num_rows = math.ceil(rank_micro_batch_size / self._num_microbatches)
        for micro_batch in chunks(rows, plan.micro_batch_size * group.layout.data):
            local_rows, counts = group.local_rows(micro_batch)
            total += self._run_micro_batch(plan.collate, local_rows, counts, num_rows)
        parameters = [p for settings in state.optimizer.param_groups for p in settings["params"]]
        if group.layout.data > 1:
            gradients.all_reduce_gradients(
                parameters, group.data_group, self._bucket_mib, group.comm_device
            )
        clip = partial(gradients.clip_sharded_gradients, stage_group=group.model_group)
        optimizers.take_step(state.optimizer, state.precision, rate, state.max_gradient_norm, clip)
        if state.masks is not None:
            state.masks.apply()
        return total

    def _run_micro_batch(
        self, collate: Collator, rows: Indices, counts: bool, num_rows: int
    ) -> Tensor:
        """Forward and backward pass of a micro-batch; returns its loss on the last stage, else 0.

        It is divided into micro-batches of ``num_rows`` each. Rows whose labels are ignored pad
        it, because all of them need the same shape.
        """
        num_padding = num_rows * self._num_microbatches - len(rows)
        padded_rows = np.concatenate([rows, np.repeat(rows[:1], num_padding)])
        length = collate.length or _padded_length(collate, rows)
        batch = replace(collate, length=length, always_mask=True)(padded_rows)
        batch.labels[len(rows) if counts else 0 :] = ignored_label(batch.labels)
        self._has_padding = num_padding > 0 or not counts
        inputs = dict(batch.inputs)
        ids = inputs.pop("input_ids")
        losses: list[Tensor] = []
        has_first, has_last = self._stages[0].is_first, self._stages[-1].is_last
        self._schedule(num_rows, length).step(
            *((ids,) if has_first else ()),
            target=batch.labels if has_last else None,
            losses=losses if has_last else None,
            return_outputs=False,
            **inputs,
        )
        zero = torch.zeros((), device=self._group.device)
        return torch.stack([loss.detach() for loss in losses]).sum() if losses else zero

    def _mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self._has_padding:  # a loss of the user's own need not know labels that are ignored
            rows = is_evaluated(labels).reshape(len(labels), -1).any(dim=1)
            logits, labels = logits[rows], labels[rows]
        return self._loss(logits, labels) / self._num_labels

    def _schedule(self, num_rows: int, length: int) -> Any:
        shape = (num_rows, length)
        if shape not in self._schedules:
            self._schedules[shape] = self._build_schedule(num_rows, length)
        return self._schedules[shape]

    def _build_schedule(self, num_rows: int, length: int) -> Any:
        group = self._group
        stages: list[Any] = [
            PipelineStage(
                stage,
                stage.index,
                len(self._stage_layers),
                group.device,
                input_args=stage.example_input(num_rows, length),
                output_args=stage.example_output(num_rows, length),
                group=group.model_group,
            )
            for stage in self._stages
        ]
        settings: dict[str, Any] = {"loss_fn": self._mean_loss, "scale_grads": False}
        if self._schedule_name == "interleaved":
            return ScheduleInterleaved1F1B(stages, self._num_microbatches, **settings)
        schedule_class = ScheduleGPipe if self._schedule_name == "gpipe" else Schedule1F1B
        return schedule_class(stages[0], self._num_microbatches, **settings)


def _padded_length(collate: Collator, rows: Indices) -> int:
    """The longest length of ``rows``, rounded up, at most the longest of the split."""
    lengths = collate.split.lengths
    rounded = math.ceil(int(lengths[rows].max()) / LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    return min(rounded, int(lengths.max()))


def balance_stages(seconds: Sequence[float], num_stages: int) -> list[range]:
    """The layers of each stage, in order, such that the slowest stage is as fast as possible.

    ``seconds`` are those of the embeddings, of each layer, and of what follows the layers. Raises
    :class:`Unsupported` if there are fewer layers than stages.
    """
    num_layers = len(seconds) - 2
    if num_layers < num_stages:
        raise Unsupported(
            f"{num_layers} layers cannot make {num_stages} stages",
            hint="use a lower degree, or a pipeline_schedule with one stage per rank",
        )
    costs = list(seconds[1:-1])
    costs[0] += seconds[0]
    costs[-1] += seconds[-1]
    # best[s, e]: slowest of s stages over the first e layers, and where the last of them starts.
    best: dict[tuple[int, int], tuple[float, int]] = {(0, 0): (0.0, 0)}
    for stage in range(1, num_stages + 1):
        for end in range(stage, num_layers + 1):
            best[stage, end] = min(
                (max(best[stage - 1, start][0], sum(costs[start:end])), start)
                for start in range(stage - 1, end)
                if (stage - 1, start) in best
            )
    ends = [num_layers]
    for stage in range(num_stages, 0, -1):
        ends.append(best[stage, ends[-1]][1])
    ends.reverse()
    return [range(start, end) for start, end in pairwise(ends)]


def _measure_costs(
    model: PreTrainedModel, precision: Precision, group: DistributedGroup
) -> list[float]:
    """Seconds of the embeddings, of each layer, and 0 for the head, as measured by rank 0: all
    ranks must divide the model in the same way.

    Only one of several layers of the same shape is run, so that a rank does not read weights from
    the file that it will not hold.
    """
    encoder = encoder_of(model)
    seconds = torch.zeros(len(encoder.module_list) + 2, dtype=torch.float64)
    if group.is_main_process:
        with preserve_rng(group.device), precision.autocast():
            seconds[:-1] = torch.tensor([_time_embeddings(encoder), *_time_layers(encoder)])
    dist.broadcast(seconds, src=0)
    return [float(value) for value in seconds]


def _time_embeddings(encoder: Encoder) -> float:
    device = encoder.layers[0].ffn_in.weight.device
    ids = torch.ones(TIMED_SHAPE, dtype=torch.long, device=device)
    return time_module(encoder.embeddings[0], ids)


def _time_layers(encoder: Encoder) -> Iterator[float]:
    seconds: dict[tuple[Any, ...], float] = {}
    for layer in encoder.module_list:
        shape = tuple((weight.shape, weight.requires_grad) for weight in layer.parameters())
        if shape not in seconds:
            seconds[shape] = time_layer(encoder, layer)
        yield seconds[shape]
