"""Shapes of a workload under a strategy: what is left of the model, and sizes of its batches."""

from __future__ import annotations

import math
from functools import cached_property

from autotune.domain import Strategy, WorkloadProfile
from autotune.domain.training import COMPILED_MULTIPLE, num_steps
from autotune.levers import LEVERS
from autotune.levers.layout import Layout, layout
from autotune.levers.model_shape import ModelShape

FLOAT_BYTES = 4

MIN_ROWS_FOR_P95 = 8
"""In smaller batches the longest sample has a median length, in larger ones the 95th percentile."""


def model_shape(profile: WorkloadProfile, strategy: Strategy) -> ModelShape:
    """The model of ``profile`` under the levers that have a workload function."""
    profile = profile.under(strategy)
    shape = ModelShape(profile.layers, has_dropout=profile.dropout)
    for name, lever in LEVERS.items():
        value = strategy.values.get(name)
        if lever.workload is not None and value is not None and not lever.is_neutral(value):
            shape = lever.workload(shape, strategy, profile)
    return shape


class WorkloadShape:
    """Sizes of one trial, from its profile and its strategy."""

    def __init__(self, profile: WorkloadProfile, strategy: Strategy) -> None:
        self.profile, self.strategy = profile.under(strategy), strategy
        self.device = str(strategy["device"]).partition(":")[0]
        self.layout: Layout = layout(strategy.get("parallelism", "none"))
        self.precision = str(strategy["precision"])
        self.weight_bytes = 2 if self.precision == "bf16-pure" else FLOAT_BYTES
        self.activation_bytes = FLOAT_BYTES if self.precision in ("fp32", "tf32") else 2

    # -------------------------------------------------------------------------------- the model

    @cached_property
    def model(self) -> ModelShape:
        return model_shape(self.profile, self.strategy)

    @cached_property
    def layer_parameters(self) -> float:
        """Parameters of all layers that are left; nearly all are in matrices."""
        return self.model.layers * self._parameters_per_layer

    @cached_property
    def parameters(self) -> float:
        profile = self.profile
        return profile.embedding_parameters + self.layer_parameters + profile.head_parameters

    @cached_property
    def trained_parameters(self) -> float:
        if self.model.frozen == 0:
            return self.parameters
        layers = self.model.trained_layers * self.model.trained_share
        return layers * self._parameters_per_layer + self.profile.head_parameters

    @cached_property
    def _parameters_per_layer(self) -> float:
        hidden, intermediate = self.profile.hidden, self.profile.intermediate_size
        attention = 4 * hidden / (4 * hidden + 2 * intermediate)
        share = attention * self.model.heads + (1 - attention) * self.model.intermediate
        return self.profile.layer_parameters * share

    # -------------------------------------------------------------------------------- the batch

    @property
    def stages(self) -> int:
        """Pipeline stages."""
        return self.layout.model if self.layout.model_kind == "pp" else 1

    @cached_property
    def rows(self) -> int:
        """Samples of one forward pass in one process."""
        batch, micro = int(self.strategy["batch_size"]), self.strategy["micro_batch_size"]
        share = math.ceil(batch / self.layout.data)
        rows = share if isinstance(micro, str) else min(share, int(micro))
        if self.stages == 1:
            return rows
        return math.ceil(rows / int(self.strategy["pipeline_microbatches"]))

    @property
    def microbatches_in_flight(self) -> float:
        """Micro-batches whose activations a pipeline stage keeps, on average over stages."""
        if self.stages == 1:
            return 1.0
        microbatches = int(self.strategy["pipeline_microbatches"])
        if self.strategy["pipeline_schedule"] == "gpipe":
            return float(microbatches)
        return min(float(microbatches), (self.stages + 1) / 2)

    @property
    def longest_sample(self) -> int:
        """Tokens of the longest sample after truncation."""
        return min(self.profile.longest, self.profile.max_length)

    @cached_property
    def longest_batch(self) -> int:
        """Tokens per row of the training batch with the longest rows."""
        if self.strategy["padding"] == "fixed":
            return self.profile.max_length
        multiple = COMPILED_MULTIPLE if self.strategy["compile"] else 1
        return math.ceil(self.longest_sample / multiple) * multiple

    @property
    def typical_batch(self) -> int:
        """Tokens per row of a typical training batch."""
        if self.strategy["padding"] == "fixed":
            return self.profile.max_length
        is_uniform = self.strategy["padding"] == "bucketed" or self.rows < MIN_ROWS_FOR_P95
        return self.profile.median if is_uniform else self.profile.p95

    @property
    def steps(self) -> int:
        """Optimizer steps of a full training run."""
        return self.profile.steps or num_steps(self.strategy, self.profile.train_samples)

    @property
    def train_samples(self) -> float:
        """Samples that a full training run processes, over all epochs."""
        if self.profile.steps is not None:
            return float(self.profile.steps * int(self.strategy["batch_size"]))
        return float(self.strategy["epochs"]) * self.profile.train_samples

    @property
    def batch_lengths(self) -> float:
        """Number of different row lengths among the training batches. The longest of many rows
        varies little."""
        if self.strategy["padding"] == "fixed":
            return 1.0
        batches = self.steps * math.ceil(int(self.strategy["batch_size"]) / self.rows)
        return float(min(batches, max(self.longest_sample - self.typical_batch, 0) + 1))
