"""The shape of a model under a strategy: the levers' contribution to memory and operations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """What pruning, freezing and the like leave of a model.

    ``heads`` and ``intermediate`` are the shares, from 0 to 1, of the attention heads and of the
    feed-forward width that each of ``layers`` keeps. ``frozen`` counts the frozen parts from below:
    0 for none, 1 for the embeddings, n for the embeddings and n - 1 layers. ``operations`` and
    ``activations`` are factors on the operations of a forward pass and on the bytes that it keeps
    for the backward pass, for levers that no other field describes.
    """

    layers: int
    heads: float = 1.0
    intermediate: float = 1.0
    frozen: int = 0
    has_dropout: bool = False
    has_masks: bool = False
    """Whether pruned weights stay in place and are held at zero."""

    has_gradient_scores: bool = False
    """Whether set-up computes gradients of the full model, to score heads and units."""

    trains_unpruned: bool = False
    """Whether set-up trains the full model."""

    setup_passes: float = 0.0
    """Forward and backward passes of the full model over an example that set-up takes to train."""

    rounds_weights: bool = False
    """Whether training rounds the weights of layers for each forward pass."""

    recomputes_activations: bool = False
    trained_share: float = 1.0
    """Trained parameters of a layer that is not frozen, relative to its own."""

    caches_activations: bool = False
    """Whether the outputs of the frozen parts are in memory, and training does not run them."""

    operations: float = 1.0
    activations: float = 1.0

    @property
    def trained_layers(self) -> int:
        return max(0, self.layers - max(self.frozen - 1, 0))
