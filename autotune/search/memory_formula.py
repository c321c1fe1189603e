"""What a trial holds in memory, added up from the sizes of its model, its batch and its strategy.

A peak is that of its fullest phase: putting the strategy in force, training, or judging. Each
phase is an amount of each of a few components, in GiB over all processes, which calibration scales one by
one (:mod:`autotune.search.memory_model`). Activations are counted as in Korthikanti et al. (2022),
"Reducing Activation Recomputation in Large Transformer Models", for what torch keeps on each
device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from autotune.domain import Anatomy, Strategy
from autotune.levers.parallelism import Layout, layout

Where = Literal["host", "device"]

COMPONENTS = ("process", "states", "activations", "attention", "kernels")
"""A process before it trains; weights, gradients and optimizer states; what the forward pass keeps
and the backward pass makes; what of that grows with the square of the length; and the workspaces
of kernels that were made for batches of one shape."""

Phase = tuple[float, float, float, float, float]
"""GiB of each of :data:`COMPONENTS`."""

Parts = tuple[float, float, float, float]
"""Bytes in one process of all components but the first."""

GIB = 2**30
FLOAT = 4
STATES = {"adamw": 2.0, "adamw-fused": 2.0, "sgd": 1.0, "adafactor": 0.02}
"""Floats that an optimizer keeps for each parameter; Adafactor's are rows and columns."""

TEMPORARIES = {"adamw": 2.0, "adamw-fused": 0.0, "sgd": 0.0, "adafactor": 3.0}
"""Copies of the largest tensor that a step makes for a moment."""

LIBRARIES_GIB = 0.15
"""What kernels and thread pools add to an idle process once they are used."""

CUDA_HOST_GIB = 1.5
"""The same where CUDA is used: its context and its libraries' code."""

CUDA_DEVICE_GIB = 0.04
"""Workspaces of matrix kernels on the device."""

COMPILER_GIB = 0.5
SCORED_BATCH = 8
JUDGED_BATCH = {"cpu": 32, "cuda": 256, "mps": 64}
SINGLES = 60
"""Examples whose latency is measured, one at a time."""

KERNELS_BYTES, FORWARD_SHARE = 8 * 2**20, 1 / 3
"""What oneDNN makes and keeps for each shape of a batch in half precision, and the part of it that
the forward pass alone needs. Measured: 8 to 10 MiB for two layers as for six."""

SHAPES = 80
"""Shapes of batches that oneDNN's cache has room for."""

FEW = 8
"""So few rows have a longest one of any length."""

COMPILED_MULTIPLE = 16


def phases(anatomy: Anatomy, strategy: Strategy, where: Where) -> tuple[Phase, ...]:
    """What each phase of a trial holds on the host or on its accelerators."""
    return Formula(anatomy, strategy, where).phases()


@dataclass(frozen=True)
class Kept:
    """What pruning leaves: layers, and shares of the heads and neurons of each."""

    layers: int
    heads: float = 1.0
    neurons: float = 1.0


class Formula:
    """The sizes of one trial, for the host or for its accelerators."""

    def __init__(self, anatomy: Anatomy, strategy: Strategy, where: Where) -> None:
        self.anatomy, self.strategy, self.where = anatomy, strategy, where
        self.kind = str(strategy["device"]).partition(":")[0]
        self.layout: Layout = layout(strategy.get("parallelism", "none"))
        self.offload = str(strategy.get("offload", "none"))
        self.kept = kept(anatomy, strategy)
        self.precision = str(strategy["precision"])
        self.weight_bytes = 2 if self.precision == "bf16-pure" else FLOAT
        self.dropout = _drops_out(anatomy, strategy)

    def phases(self) -> tuple[Phase, ...]:
        """Amounts over all processes."""
        if self.where == "host" and self.kind != "cpu":
            each = [self._beside_the_device()]
        else:
            each = [self._applying(), self._training(), self._judging()]
        world = self.layout.world
        process = self._process()
        return tuple((world * process, *(world * part / GIB for part in parts)) for parts in each)

    # ------------------------------------------------------------------------------- components

    def _process(self) -> float:
        if self.where == "device":
            return CUDA_DEVICE_GIB
        compiler = COMPILER_GIB if self.strategy["compile"] else 0.0
        libraries = LIBRARIES_GIB if self.kind == "cpu" else CUDA_HOST_GIB
        return self.anatomy.idle_gib + libraries + compiler

    def _applying(self) -> Parts:
        """Loading, where the file's pages lie beside the weights, and scores that want gradients of
        the whole model."""
        weights = FLOAT * self.anatomy.parameters
        on_host = weights if self.where == "host" else 0.0
        if not self._is_scored():
            masks = 3 * FLOAT * self._linear() if self._masked() else 0.0
            return weights + max(on_host, masks), 0.0, 0.0, 0.0
        whole = Kept(self.anatomy.layers)
        tokens = SCORED_BATCH * self._longest()
        saved, squares = self._layer(whole, tokens, SCORED_BATCH, dropout=False)
        return 2 * weights, whole.layers * saved, whole.layers * squares, 0.0

    def _training(self) -> Parts:
        rows = self._rows()
        tokens = rows * self._length()
        saved, squares = self._layer(self.kept, tokens, rows, dropout=self.dropout)
        in_flight = self._in_flight()
        layers = self._trained_layers() / self._stages() * in_flight
        embedded = tokens * self.anatomy.hidden * FLOAT * (2 + self.dropout) * in_flight
        kernels = self._kernels(self._trained_shapes())
        if self.strategy["activation_checkpointing"]:
            inputs = layers * tokens * self.anatomy.hidden * self._activation_bytes()
            again = 2.0 * in_flight  # one layer's, computed again, and its gradients
            activations = inputs + embedded + again * saved
            return self._states(), activations, again * squares, kernels
        backward = 1.0 if layers else 0.5
        outputs = self._outputs(rows, tokens)
        activations = (layers + backward) * saved + embedded + outputs
        return self._states(), activations, (layers + backward) * squares, kernels

    def _judging(self) -> Parts:
        """Inference keeps one layer's work, of a batch that is the same for all strategies."""
        rows = JUDGED_BATCH.get(self.kind, 32)
        tokens = rows * self._longest()
        saved, squares = self._layer(self.kept, tokens, rows, dropout=False)
        whole = 0.0 if self.layout.world == 1 else self.weight_bytes * self._parameters()
        states = self._states(gradients=False) + whole
        judged = math.ceil(self.anatomy.validation_samples / rows) + SINGLES
        shapes = self._trained_shapes() + FORWARD_SHARE * min(judged, self._longest())
        return states, saved / 2, squares, self._kernels(shapes)

    def _beside_the_device(self) -> Parts:
        """Host memory of a trial on an accelerator: weights on their way, and what is offloaded."""
        weights = FLOAT * self.anatomy.parameters
        held = 0.0
        if self.offload == "optimizer":
            held = self._trained() * FLOAT * (2 + STATES[str(self.strategy["optimizer"])])
        elif self.offload == "parameters":
            held = self._states() / self.layout.data
        return 2 * weights + held, 0.0, 0.0, 0.0

    # ----------------------------------------------------------------------------------- states

    def _states(self, *, gradients: bool = True) -> float:
        """Bytes of weights, gradients and optimizer states that one process holds."""
        optimizer = str(self.strategy["optimizer"])
        weights, trained = self._parameters(), self._trained()
        size, model = self.weight_bytes, self.layout.model
        casts = 0.0 if self.precision not in ("bf16", "fp16") else 2.0 * self._linear()
        masks = float(self._linear()) if self._masked() else 0.0
        largest = min(trained, max(self.anatomy.embedding_parameters, 1)) * size
        grown = size * trained * gradients
        kept = STATES[optimizer] * size * trained
        if self.where == "device" and self.offload == "optimizer":
            kept = 0.0
        if self.layout.data_kind == "zero1":
            kept /= self.layout.data
        total = (size * weights + grown + kept + casts + masks) / model
        if self.layout.data_kind == "fsdp" or self.offload == "parameters":
            total = self._sharded(total, casts + size * weights)
        return total + TEMPORARIES[optimizer] * largest / model * gradients

    def _sharded(self, total: float, weights: float) -> float:
        """A share of everything, and the weights that are gathered: two layers', or all."""
        resharded = bool(self.strategy["fsdp_reshard"]) or self.offload == "parameters"
        gathered = 2 * weights / max(self.kept.layers, 1) if resharded else weights
        shares = self.layout.data
        if self.offload == "parameters":
            return gathered if self.where == "device" else total / shares
        return total / shares + min(gathered, weights)

    def _parameters(self) -> float:
        anatomy = self.anatomy
        layers = self.kept.layers * self._layer_parameters()
        return anatomy.embedding_parameters + layers + anatomy.head_parameters

    def _trained(self) -> float:
        frozen = int(self.strategy["freeze_layers"])
        if frozen == 0:
            return self._parameters()
        layers = self._trained_layers() * self._layer_parameters()
        return layers + self.anatomy.head_parameters

    def _linear(self) -> float:
        """Parameters of the encoder's matrices."""
        return self.kept.layers * self._layer_parameters()

    def _layer_parameters(self) -> float:
        hidden, neurons = self.anatomy.hidden, self.anatomy.neurons
        attention = 4 * hidden / (4 * hidden + 2 * neurons)
        share = attention * self.kept.heads + (1 - attention) * self.kept.neurons
        return self.anatomy.layer_parameters * share

    def _trained_layers(self) -> int:
        return max(0, self.kept.layers - max(int(self.strategy["freeze_layers"]) - 1, 0))

    def _masked(self) -> bool:
        ratio, method = self.strategy["pruning_ratio"], self.strategy["pruning_method"]
        return float(ratio) > 0 and method == "unstructured"

    def _is_scored(self) -> bool:
        pruned = float(self.strategy["pruning_ratio"]) > 0
        how = (self.strategy["pruning_method"], self.strategy["pruning_score"])
        return pruned and how == ("structured", "taylor")

    # ------------------------------------------------------------------------------ activations

    def _layer(
        self, kept: Kept, tokens: float, rows: float, *, dropout: bool
    ) -> tuple[float, float]:
        """Bytes that one layer keeps for its backward pass: in proportion to tokens, and to the
        square of the length."""
        split = self.layout.model if self.layout.model_kind == "tp" else 1
        by_position = split if self.strategy.get("sequence_parallel", False) else 1
        hidden, size = self.anatomy.hidden, self._activation_bytes()
        mask = self._mask_bytes() if dropout else 0.0
        heads = 6 * hidden * size * kept.heads / split
        neurons = 2 * self.anatomy.neurons * size * kept.neurons / split
        between = hidden * (4 * size + 2 * mask) / by_position
        width = tokens / max(rows, 1)
        kept_squares = self._squares(dropout) * self.anatomy.heads * kept.heads / split
        return tokens * (heads + neurons + between), tokens * width * kept_squares

    def _squares(self, dropout: bool) -> float:
        """Bytes of a head's scores for each pair of word pieces. A CPU's fused kernel cannot drop
        out, so that attention is written out there after all."""
        written_out = self.strategy["attention"] == "eager" or (dropout and self.kind == "cpu")
        if not written_out:
            return 0.0
        size = self._activation_bytes()
        return size + (size + self._mask_bytes() if dropout else 0.0)

    def _activation_bytes(self) -> int:
        return FLOAT if self.precision in ("fp32", "tf32") else 2

    def _mask_bytes(self) -> float:
        """A dropout mask is bytes on CUDA, and numbers elsewhere."""
        return 1.0 if self.kind == "cuda" else float(self._activation_bytes())

    def _outputs(self, rows: float, tokens: float) -> float:
        judged = tokens if self.anatomy.label_per_token else rows
        return 3 * FLOAT * judged * self.anatomy.labels

    def _rows(self) -> float:
        """Examples that one process has in hand at once."""
        batch, micro = int(self.strategy["batch_size"]), self.strategy["micro_batch_size"]
        share = math.ceil(batch / self.layout.data)
        rows = share if isinstance(micro, str) else min(share, int(micro))
        if self._stages() == 1:
            return rows
        return math.ceil(rows / int(self.strategy["pipeline_microbatches"]))

    def _in_flight(self) -> float:
        """Pieces of a micro-batch whose activations are kept at once, on average over stages."""
        if self._stages() == 1:
            return 1.0
        pieces = int(self.strategy["pipeline_microbatches"])
        if self.strategy["pipeline_schedule"] == "gpipe":
            return float(pieces)
        return min(float(pieces), (self._stages() + 1) / 2)

    def _kernels(self, shapes: float) -> float:
        """On a CPU half precision has kernels made for each shape of a batch, and keeps them;
        those of full precision take any shape."""
        made_to_measure = self.kind == "cpu" and self.precision != "fp32"
        return KERNELS_BYTES * min(shapes, SHAPES) if made_to_measure else 0.0

    def _trained_shapes(self) -> float:
        """Different lengths among training batches: the longest of many rows differs little."""
        if self.strategy["padding"] == "fixed":
            return 1.0
        rows, anatomy = self._rows(), self.anatomy
        batches = self._steps() * math.ceil(int(self.strategy["batch_size"]) / rows)
        by_length = self.strategy["padding"] == "bucketed" or rows < FEW
        shortest = anatomy.median if by_length else anatomy.p95
        return float(min(batches, max(self._longest() - shortest, 0) + 1))

    def _steps(self) -> int:
        per_epoch = math.ceil(self.anatomy.train_samples / int(self.strategy["batch_size"]))
        return self.anatomy.steps or math.ceil(float(self.strategy["epochs"]) * per_epoch)

    def _stages(self) -> int:
        return self.layout.model if self.layout.model_kind == "pp" else 1

    def _longest(self) -> int:
        return min(self.anatomy.longest, self.anatomy.max_length)

    def _length(self) -> int:
        """Word pieces of the longest training batch."""
        if self.strategy["padding"] == "fixed":
            return self.anatomy.max_length
        multiple = COMPILED_MULTIPLE if self.strategy["compile"] else 1
        return math.ceil(self._longest() / multiple) * multiple


def kept(anatomy: Anatomy, strategy: Strategy) -> Kept:
    """What the strategy's pruning leaves of the model."""
    ratio, method = float(strategy["pruning_ratio"]), strategy["pruning_method"]
    if ratio == 0 or method == "unstructured":
        return Kept(anatomy.layers)
    if method == "layers":
        return Kept(max(1, int(anatomy.layers * (1 - ratio) + 0.5)))
    heads = max(1, int(anatomy.heads * (1 - ratio) + 0.5)) / anatomy.heads
    return Kept(anatomy.layers, heads, 1 - ratio)


def _drops_out(anatomy: Anatomy, strategy: Strategy) -> bool:
    wanted = strategy["dropout"]
    return anatomy.dropout if isinstance(wanted, str) else float(wanted) > 0
