"""What a strategy makes of a task: how much of the model is left, how much of that is trained, and
what a process has in hand of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from autotune.domain import Strategy, WorkloadProfile
from autotune.levers.parallelism import Layout, layout

FLOAT = 4
COMPILED_MULTIPLE = 16
FEW = 8
"""So few rows have a longest one of any length."""


@dataclass(frozen=True)
class PrunedShape:
    """What pruning leaves: layers, and shares of the heads and neurons of each."""

    layers: int
    heads: float = 1.0
    neurons: float = 1.0


class WorkloadShape:
    """The sizes of one trial."""

    def __init__(self, anatomy: WorkloadProfile, strategy: Strategy) -> None:
        self.anatomy, self.strategy = anatomy, strategy
        self.device = str(strategy["device"]).partition(":")[0]
        self.layout: Layout = layout(strategy.get("parallelism", "none"))
        self.precision = str(strategy["precision"])
        self.weight_bytes = 2 if self.precision == "bf16-pure" else FLOAT
        self.activation_bytes = FLOAT if self.precision in ("fp32", "tf32") else 2

    # -------------------------------------------------------------------------------- the model

    @cached_property
    def kept(self) -> PrunedShape:
        """What is left of the model."""
        anatomy, method = self.anatomy, self.strategy["pruning_method"]
        ratio = float(self.strategy["pruning_ratio"])
        if ratio == 0 or method == "unstructured":
            return PrunedShape(anatomy.layers)
        if method == "layers":
            return PrunedShape(max(1, int(anatomy.layers * (1 - ratio) + 0.5)))
        heads = max(1, int(anatomy.heads * (1 - ratio) + 0.5)) / anatomy.heads
        return PrunedShape(anatomy.layers, heads, 1 - ratio)

    @cached_property
    def dropout(self) -> bool:
        wanted = self.strategy["dropout"]
        return self.anatomy.dropout if isinstance(wanted, str) else float(wanted) > 0

    @property
    def masked(self) -> bool:
        """Whether single weights are held at zero."""
        ratio, method = self.strategy["pruning_ratio"], self.strategy["pruning_method"]
        return float(ratio) > 0 and method == "unstructured"

    @property
    def scored_by_gradients(self) -> bool:
        """Whether heads and neurons are chosen by what they do to the loss."""
        pruned = float(self.strategy["pruning_ratio"]) > 0
        how = (self.strategy["pruning_method"], self.strategy["pruning_score"])
        return pruned and how == ("structured", "taylor")

    @cached_property
    def linear(self) -> float:
        """Parameters of the layers that are left; nearly all are in matrices."""
        return self.kept.layers * self._layer_parameters

    @cached_property
    def parameters(self) -> float:
        return self.anatomy.embedding_parameters + self.linear + self.anatomy.head_parameters

    @cached_property
    def trained(self) -> float:
        """Parameters that are not frozen."""
        if int(self.strategy["freeze_layers"]) == 0:
            return self.parameters
        return self.trained_layers * self._layer_parameters + self.anatomy.head_parameters

    @property
    def trained_layers(self) -> int:
        return max(0, self.kept.layers - max(int(self.strategy["freeze_layers"]) - 1, 0))

    @cached_property
    def _layer_parameters(self) -> float:
        hidden, neurons = self.anatomy.hidden, self.anatomy.intermediate_size
        attention = 4 * hidden / (4 * hidden + 2 * neurons)
        share = attention * self.kept.heads + (1 - attention) * self.kept.neurons
        return self.anatomy.layer_parameters * share

    # -------------------------------------------------------------------------------- the batch

    @property
    def stages(self) -> int:
        """Parts of a pipeline."""
        return self.layout.model if self.layout.model_kind == "pp" else 1

    @cached_property
    def rows(self) -> int:
        """Examples that one process has in hand at once."""
        batch, micro = int(self.strategy["batch_size"]), self.strategy["micro_batch_size"]
        share = math.ceil(batch / self.layout.data)
        rows = share if isinstance(micro, str) else min(share, int(micro))
        if self.stages == 1:
            return rows
        return math.ceil(rows / int(self.strategy["pipeline_microbatches"]))

    @property
    def in_flight(self) -> float:
        """Pieces of a micro-batch whose activations are kept at once, on average over stages."""
        if self.stages == 1:
            return 1.0
        pieces = int(self.strategy["pipeline_microbatches"])
        if self.strategy["pipeline_schedule"] == "gpipe":
            return float(pieces)
        return min(float(pieces), (self.stages + 1) / 2)

    @property
    def longest(self) -> int:
        return min(self.anatomy.longest, self.anatomy.max_length)

    @cached_property
    def length(self) -> int:
        """Word pieces to which the rows of the longest training batch are padded."""
        if self.strategy["padding"] == "fixed":
            return self.anatomy.max_length
        multiple = COMPILED_MULTIPLE if self.strategy["compile"] else 1
        return math.ceil(self.longest / multiple) * multiple

    @property
    def usual_length(self) -> int:
        """Word pieces to which the rows of a usual training batch are padded."""
        if self.strategy["padding"] == "fixed":
            return self.anatomy.max_length
        by_length = self.strategy["padding"] == "bucketed" or self.rows < FEW
        return self.anatomy.median if by_length else self.anatomy.p95

    @property
    def steps(self) -> int:
        """Optimizer steps of a whole fine-tune."""
        per_epoch = math.ceil(self.anatomy.train_samples / int(self.strategy["batch_size"]))
        return self.anatomy.steps or max(1, math.ceil(float(self.strategy["epochs"]) * per_epoch))

    @property
    def examples(self) -> float:
        """Examples that a whole fine-tune goes through."""
        if self.anatomy.steps is not None:
            return float(self.anatomy.steps * int(self.strategy["batch_size"]))
        return float(self.strategy["epochs"]) * self.anatomy.train_samples

    @property
    def shapes(self) -> float:
        """Different lengths among training batches: the longest of many rows differs little."""
        if self.strategy["padding"] == "fixed":
            return 1.0
        batches = self.steps * math.ceil(int(self.strategy["batch_size"]) / self.rows)
        return float(min(batches, max(self.longest - self.usual_length, 0) + 1))
