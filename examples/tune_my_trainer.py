"""Tune a Hugging Face ``Trainer`` with a loss of its own.

    python examples/tune_my_trainer.py                      # a small model, data from this file
    python examples/tune_my_trainer.py --model DIR --minutes 15

The script builds a Trainer as any script does, lets autotune search how it trains faster, trains
once more with the best settings, and prints both speeds.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

import autotune

CLASS_WEIGHTS = (1.0, 3.0)
"""Complaints are rare and matter more."""

THINGS = ("kettle", "lamp", "bicycle", "radio", "chair", "camera", "keyboard", "backpack")
COMPLAINTS = ("broke after {} days", "never worked", "arrived with a crack", "is far too loud")
PRAISE = ("works well", "still runs after {} days", "is lighter than expected", "looks good")


def make_reviews(count: int, seed: int) -> Dataset:
    """Made-up reviews of one or two sentences; every fourth is a complaint."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        is_complaint = number % 4 == 0
        first = rng.choice(COMPLAINTS if is_complaint else PRAISE).format(rng.randint(2, 90))
        rest = rng.choice(("", f" I bought it for my {rng.choice(THINGS)} collection last summer."))
        text = f"The {rng.choice(THINGS)} {first}.{rest}"
        rows.append({"text": text, "labels": int(is_complaint)})
    return Dataset.from_list(rows)


def weighted_loss(outputs: Any, labels: torch.Tensor, **_: Any) -> torch.Tensor:
    """Cross entropy with the weights of the classes."""
    weights = torch.tensor(CLASS_WEIGHTS, device=labels.device)
    return torch.nn.functional.cross_entropy(outputs.logits.float(), labels, weight=weights)


def compute_metrics(prediction: Any) -> dict[str, float]:
    """Accuracy, and the share of complaints that are found."""
    classes, labels = prediction.predictions.argmax(-1), prediction.label_ids
    complaints = labels == 1
    return {
        "accuracy": float((classes == labels).mean()),
        "complaint_recall": float((classes == labels)[complaints].mean()),
    }


def make_trainer(model_name: str, examples: int, folder: str) -> Trainer:
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_name)

    def tokenize(rows: dict[str, list[str]]) -> Any:
        return tokenizer(rows["text"], truncation=True, max_length=64)

    def split(count: int, seed: int) -> Dataset:
        return make_reviews(count, seed).map(tokenize, batched=True, remove_columns="text")

    return Trainer(
        AutoModelForSequenceClassification.from_pretrained(model_name, num_labels=2),
        TrainingArguments(folder, num_train_epochs=1, report_to=[], save_strategy="no"),
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=split(examples, 0),
        eval_dataset=split(max(examples // 2, 8), 1),
        compute_metrics=compute_metrics,
        compute_loss_func=weighted_loss,
    )


def train(trainer: Trainer) -> tuple[float, dict[str, float]]:
    """Train and evaluate; returns seconds and scores."""
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    return seconds, trainer.evaluate()


def main() -> None:
    parser = argparse.ArgumentParser(description="Tune a Trainer with a loss of its own")
    parser.add_argument("--model", help="name or folder; default: a small random BERT")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--examples", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or make_small_bert(f"{folder}/bert")
        trainer = make_trainer(model, options.examples, f"{folder}/out")
        result = autotune.tune(
            trainer,
            name="reviews",
            objectives=["train_samples_per_second", "accuracy", "complaint_recall"],
            constraints=["accuracy >= baseline - 0.02"],
            metrics={"complaint_recall": "maximize"},
            minutes=options.minutes,
            trials=options.trials,
            storage=f"sqlite:///{folder}/reviews.db",
        )
        print(result.front[["train_samples_per_second", "accuracy", "complaint_recall"]])
        print(result.summary)
        tuned = result.apply(trainer)
        for name, candidate in (("before", trainer), ("tuned", tuned)):
            seconds, scores = train(candidate)
            print(f"{name}: {seconds:.1f} s in one run, accuracy {scores['eval_accuracy']:.3f}")


def make_small_bert(folder: str) -> str:
    """A random BERT with a vocabulary of the reviews, so that the example needs no download."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    text = " ".join(str(row["text"]) for row in make_reviews(400, 0)).lower()
    words = sorted({word.strip(".") for word in text.split()})
    letters = [*map(chr, range(97, 123)), *map(str, range(10)), "."]
    pieces = [*letters, *(f"##{letter}" for letter in letters)]
    tokens = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *words])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=4,
        num_attention_heads=4, intermediate_size=256, max_position_embeddings=64,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
