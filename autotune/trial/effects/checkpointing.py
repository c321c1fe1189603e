"""Lever ``activation_checkpointing``: recompute activations instead of storing them."""

from __future__ import annotations

from transformers import PreTrainedModel

from autotune.errors import Unsupported


def enable_activation_checkpointing(model: PreTrainedModel) -> None:
    """Store only the input of each encoder layer for the backward pass.

    Activation memory falls to about that of one layer, at the cost of a second forward pass of the
    encoder per step, in train mode only. Losses and gradients do not change: the random state is
    restored for the second pass, so dropout is the same. The non-reentrant form is used, which
    works with frozen embeddings and distributed wrappers.

    Raises :class:`~autotune.errors.Unsupported` if transformers does not support it for the model.
    """
    if not model.supports_gradient_checkpointing:
        raise Unsupported(
            f"{type(model).__name__} does not support activation checkpointing",
            hint="set activation_checkpointing: false for this model",
        )
    enable = getattr(model, "activation_checkpointing_enable", None)
    enable = enable or model.gradient_checkpointing_enable  # its name in earlier releases
    enable({"use_reentrant": False})
    # transformers also makes the embeddings' output require a gradient. Only the reentrant form
    # needs that; it would extend the backward pass through frozen layers.
    model.disable_input_require_grads()
