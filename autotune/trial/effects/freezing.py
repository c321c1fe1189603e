"""Lever ``freeze_layers``: train only the upper part of the encoder, and the classifier."""

from __future__ import annotations

from transformers import PreTrainedModel

from autotune.errors import UsageError
from autotune.trial.encoder import encoder_of


def freeze(model: PreTrainedModel, layers: int) -> int:
    """Stop training of the lowest ``layers`` parts of the model; returns the parameters frozen.

    ``0`` freezes nothing, ``1`` the embeddings, ``n`` the embeddings and the lowest ``n - 1``
    encoder layers. A number beyond the model's layers freezes all of them; what comes after the
    encoder (pooler, classifier) is always trained. Frozen parts are run as before, dropout
    included, but the backward pass ends above them.

    The optimizer should be given only parameters that require a gradient. Freeze after pruning:
    layers are counted as they then are.
    """
    if layers < 0:
        raise UsageError(f"freeze_layers is {layers}", hint="give 0 or more")
    encoder = encoder_of(model)
    parts = [*encoder.embeddings, *list(encoder.holder)[: layers - 1]] if layers else []
    for part in parts:
        part.requires_grad_(False)
    return sum(parameter.numel() for part in parts for parameter in part.parameters())
