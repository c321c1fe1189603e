"""Lever ``freeze_layers``: train only the upper layers of the encoder and the classifier."""

from __future__ import annotations

from transformers import PreTrainedModel

from autotune.errors import UsageError
from autotune.trial.encoder import encoder_of


def freeze(model: PreTrainedModel, layers: int) -> int:
    """Freeze the lowest ``layers`` parts of the model; return the number of frozen parameters.

    ``0`` freezes nothing, ``1`` the embeddings, ``n`` the embeddings and the lowest ``n - 1``
    encoder layers. A number beyond the model's layers freezes all of them; pooler and classifier
    are always trained. Frozen parts still run, dropout included, but the backward pass ends above
    them.

    Call it after pruning, so that the remaining layers are counted, and before the optimizer is
    built over the trainable parameters.
    """
    if layers < 0:
        raise UsageError(f"freeze_layers is {layers}", hint="set it to 0 or more")
    encoder = encoder_of(model)
    parts = [*encoder.embeddings, *list(encoder.module_list)[: layers - 1]] if layers else []
    for part in parts:
        part.requires_grad_(False)
    return sum(parameter.numel() for part in parts for parameter in part.parameters())
