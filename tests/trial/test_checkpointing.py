"""Activation checkpointing recomputes layers and does not change results."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AlbertConfig, AlbertForSequenceClassification, PreTrainedModel

from autotune.errors import Unsupported
from autotune.trial.effects.checkpointing import enable_activation_checkpointing
from autotune.trial.effects.freezing import freeze
from autotune.trial.effects.pruning import prune
from autotune.trial.encoder import encoder_of
from tests.trial.tiny_encoders import BERT_NAMES, KINDS, LAYERS, batches, tiny_model


def step(model: PreTrainedModel) -> tuple[Tensor, dict[str, Tensor], int]:
    """Loss, gradients, and how often the layers' first matrices were used, in train mode."""
    used: list[object] = []
    for layer in encoder_of(model).layers:
        layer.query.register_forward_pre_hook(lambda module, _: used.append(module))
    torch.manual_seed(3)
    model.train()
    loss = model(**batches(1)[0]).loss
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, len(used)


def prepared(kind: str, preparation: str) -> PreTrainedModel:
    model = tiny_model(kind)
    if preparation == "pruned":
        prune(model, ratio=0.5, batches=batches())
    elif preparation == "frozen":
        freeze(model, 2)
    return model


@pytest.mark.parametrize("preparation", ["plain", "pruned", "frozen"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_the_same(kind: str, preparation: str) -> None:
    loss, gradients, used = step(prepared(kind, preparation))
    model = prepared(kind, preparation)
    enable_activation_checkpointing(model)
    loss_again, gradients_again, used_again = step(model)
    assert used == LAYERS
    # a frozen layer below everything trained has nothing to compute again
    assert used_again == (2 * LAYERS - 1 if preparation == "frozen" else 2 * LAYERS)
    torch.testing.assert_close(loss_again, loss, atol=0, rtol=0)
    torch.testing.assert_close(gradients_again, gradients)


def test_evaluation_is_not_recomputed() -> None:
    model = tiny_model()
    enable_activation_checkpointing(model)
    used: list[object] = []
    encoder_of(model).layers[0].query.register_forward_pre_hook(lambda m, _: used.append(m))
    model(**batches(1)[0]).loss.backward()
    assert len(used) == 1


def test_a_model_without_support_is_unsupported() -> None:
    albert = AlbertForSequenceClassification(
        AlbertConfig(vocab_size=50, embedding_size=8, num_hidden_layers=2, **BERT_NAMES)
    )
    with pytest.raises(Unsupported, match="Albert"):
        enable_activation_checkpointing(albert)
