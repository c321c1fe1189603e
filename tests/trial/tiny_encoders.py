"""Random encoders of every known family, small enough to train in milliseconds."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from autotune.trial.encoder import FAMILIES, encoder_of

KINDS = sorted(FAMILIES)
HEADS, HEAD_SIZE, NEURONS, LAYERS = 4, 8, 128, 2

COMMON = {
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "num_labels": 3,
    "initializer_range": 0.3,  # far from zero, so that whatever is removed is missed
}
BERT_NAMES = {
    "hidden_size": HEADS * HEAD_SIZE,
    "num_attention_heads": HEADS,
    "intermediate_size": NEURONS,
}
NAMES: dict[str, dict[str, int]] = {
    "distilbert": {"dim": HEADS * HEAD_SIZE, "n_heads": HEADS, "hidden_dim": NEURONS},
    "electra": {**BERT_NAMES, "embedding_size": 16},
}


def tiny_model(
    kind: str = "bert", *, layers: int = LAYERS, attention: str = "sdpa", seed: int = 0
) -> PreTrainedModel:
    """A classifier into three labels, in eval mode, as ``from_pretrained`` would return it."""
    torch.manual_seed(seed)
    count = {"n_layers" if kind == "distilbert" else "num_hidden_layers": layers}
    config = AutoConfig.for_model(kind, **COMMON, **count, **NAMES.get(kind, BERT_NAMES))
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    assert isinstance(model, PreTrainedModel)
    return model.eval()


def batches(count: int = 3, samples: int = 4, length: int = 12) -> list[dict[str, Tensor]]:
    """Random token ids with labels; the last tokens of the first sample are padding."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for _ in range(count):
        ids = torch.randint(5, 50, (samples, length), generator=generator)
        mask = torch.ones_like(ids)
        mask[0, -3:] = 0
        labels = torch.randint(0, 3, (samples,), generator=generator)
        made.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return made


def logits(model: PreTrainedModel) -> Tensor:
    """The model's answers to the first of :func:`batches`, without dropout."""
    training = model.training
    model.eval()
    with torch.no_grad():
        answer: Tensor = model(**batches(1)[0]).logits
    model.train(training)
    return answer


def encoder_flops(model: PreTrainedModel, length: int = 128) -> float:
    """Floating-point operations of the encoder's matrix products in a forward pass."""
    total = 0
    for layer in encoder_of(model).layers:
        weights = sum(linear.weight.numel() for linear in layer.linears)
        attention = 2 * length * layer.heads * layer.head_size
        total += 2 * length * (weights + attention)
    return float(total)
