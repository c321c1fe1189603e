"""A tiny trained model with uneven layers, on disk, and texts for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from autotune.deployment.trained_model import TaskFacts, save
from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan

WORDS = [f"word{index}" for index in range(45)]
VOCABULARY = {
    word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
}
LABELS = ("bad", "fair", "good")


def tokenizer() -> BertTokenizerFast:
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=made, model_max_length=40)


def pruned_model(seed: int = 0) -> BertForSequenceClassification:
    """Two layers with 2 and 3 of 4 heads, and 100 and 60 of 128 neurons, in eval mode."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=40,
        initializer_range=0.3,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = BertForSequenceClassification(config)
    plan = PruningPlan(
        layers=[0, 1],
        heads=[[0, 2], [1, 2, 3]],
        neurons=[list(range(100)), list(range(60))],
    )
    apply_plan(model, plan)
    return model.eval()


def save_tiny_model(folder: Path, seed: int = 0) -> BertForSequenceClassification:
    """Save :func:`pruned_model` as trials do, and return it."""
    model = pruned_model(seed)
    facts = TaskFacts(
        kind="text-classification",
        auto_class="AutoModelForSequenceClassification",
        labels=LABELS,
        max_length=32,
        pad_token_id=0,
        is_paired=True,
    )
    save(model, tokenizer(), facts, folder)
    return model


def random_texts(count: int, *, paired: bool = False, seed: int = 1) -> list[dict[str, list[int]]]:
    """Encoded texts of 4 to 31 tokens."""
    rng = np.random.default_rng(seed)
    texts = []
    for length in rng.integers(4, 32, count).tolist():
        text = {"input_ids": rng.integers(5, len(VOCABULARY), length).tolist()}
        if paired:
            text["token_type_ids"] = [0] * (length // 2) + [1] * (length - length // 2)
        texts.append(text)
    return texts


def expected_logits(
    model: BertForSequenceClassification, texts: list[dict[str, list[int]]]
) -> np.ndarray:
    """The logits of the model itself, text by text."""
    with torch.inference_mode():
        return np.concatenate(
            [model(**{k: torch.tensor([v]) for k, v in text.items()}).logits for text in texts]
        )
