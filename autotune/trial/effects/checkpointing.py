"""Lever ``activation_checkpointing``: keep less of the forward pass, compute it again instead."""

from __future__ import annotations

from transformers import PreTrainedModel

from autotune.errors import Unsupported


def enable_activation_checkpointing(model: PreTrainedModel) -> None:
    """Keep only the input of each encoder layer for the backward pass.

    Memory for activations falls from all layers' to about one layer's, for one more forward pass
    of the encoder a step. It acts in train mode only and leaves losses and gradients as they are:
    the random state is restored for the second pass, so dropout falls alike. The non-reentrant
    form is used, which works below frozen embeddings and with distributed wrappers.

    Raises :class:`~autotune.errors.Unsupported` where transformers cannot do it for the model.
    """
    if not model.supports_gradient_checkpointing:
        raise Unsupported(
            f"activation checkpointing does not work with {type(model).__name__}",
            hint="set activation_checkpointing: false for this model",
        )
    model.activation_checkpointing_enable({"use_reentrant": False})
    # transformers also makes the embeddings' output ask for a gradient, which only the reentrant
    # form needs; it would drive the backward pass through layers that are frozen
    model.disable_input_require_grads()
