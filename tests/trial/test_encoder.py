"""The view of encoders of every family, and errors for unsupported models."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AlbertConfig, AlbertForSequenceClassification

from autotune.errors import Unsupported
from autotune.trial.encoder import encoder_of
from tests.trial.tiny_encoders import (
    BERT_NAMES,
    HEAD_SIZE,
    HEADS,
    KINDS,
    LAYERS,
    NEURONS,
    tiny_model,
)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_read_from_the_modules(kind: str) -> None:
    encoder = encoder_of(tiny_model(kind))
    assert len(encoder.layers) == len(encoder.module_list) == LAYERS
    for layer in encoder.layers:
        assert (layer.heads, layer.head_size, layer.neurons) == (HEADS, HEAD_SIZE, NEURONS)


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_and_layers_are_distinguished_from_the_rest(kind: str) -> None:
    model = tiny_model(kind)
    encoder = encoder_of(model)
    parts = nn.ModuleList([*encoder.embeddings, encoder.module_list])
    inside = {id(parameter) for parameter in parts.parameters()}
    outside = [name for name, p in model.named_parameters() if id(p) not in inside]
    assert outside
    assert all("classifier" in name or "pooler" in name for name in outside)


@pytest.mark.parametrize("kind", KINDS)
def test_the_linears_are_all_matrices_of_the_layers_in_order_of_use(kind: str) -> None:
    model = tiny_model(kind)
    encoder = encoder_of(model)
    used: list[nn.Module] = []
    for module in encoder.module_list.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda module, _: used.append(module))
    with torch.no_grad():
        model(input_ids=torch.tensor([[5, 6, 7]]))
    assert used == list(encoder.linears)


def test_an_unsupported_type_lists_the_supported_ones() -> None:
    albert = AlbertForSequenceClassification(
        AlbertConfig(vocab_size=50, embedding_size=8, num_hidden_layers=2, **BERT_NAMES)
    )
    with pytest.raises(Unsupported, match=r"'albert'.*bert, camembert, distilbert"):
        encoder_of(albert)


def test_a_linear_that_is_not_plain_is_unsupported() -> None:
    class Wrapped(nn.Linear):
        pass

    model = tiny_model("bert")
    model.bert.encoder.layer[1].intermediate.dense = Wrapped(HEADS * HEAD_SIZE, NEURONS)
    with pytest.raises(Unsupported, match=r"intermediate\.dense is a Wrapped"):
        encoder_of(model)
