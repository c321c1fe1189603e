"""Write the model and the data of a landscape with a constraint.

    python benchmarks/landscapes/adapted_minilm.py MODEL DATA 3500 2 TARGET

``MODEL`` is fine-tuned on the first 3,500 rows of ``DATA/train.jsonl`` for two epochs. ``TARGET``
gets the new model in ``model``, the other rows in ``train.jsonl``, and the other files of ``DATA``.
With ``--validation 1000`` the first thousand of the other rows are in ``validation.jsonl``.
A short training run of the landscape continues from this checkpoint, and the default of ``Trainer``
is well trained after it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH_SIZE, LEARNING_RATE, MAX_LENGTH = 16, 3e-4, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="from small_minilm.py")
    parser.add_argument("data", type=Path, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("rows", type=int, help="rows to fine-tune on")
    parser.add_argument("epochs", type=int)
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--validation", type=int, default=0, help="rows for validation")
    options = parser.parse_args()
    lines = (options.data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    options.target.mkdir(parents=True, exist_ok=True)
    end = options.rows + options.validation
    for name, part in (("train", lines[end:]), ("validation", lines[options.rows : end])):
        if part:
            (options.target / f"{name}.jsonl").write_text("".join(part), encoding="utf-8")
    for file in options.data.glob("*.jsonl"):
        if file.name != "train.jsonl":
            shutil.copy(file, options.target)
    rows = [json.loads(line) for line in lines[: options.rows]]
    fine_tune(options.model, rows, options.epochs, options.target / "model")


def fine_tune(source: Path, rows: Sequence[dict[str, str]], epochs: int, target: Path) -> None:
    """Train all but the embeddings on ``rows`` with AdamW and a linear decay, in bf16."""
    torch.manual_seed(0)
    labels = sorted({row["label"] for row in rows})
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(
        source, num_labels=len(labels), id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )  # fmt: skip
    model.base_model.embeddings.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], LEARNING_RATE)
    steps = epochs * -(-len(rows) // BATCH_SIZE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    model.train()
    for batch in batches(rows, epochs):
        inputs = tokenizer([row["text"] for row in batch], return_tensors="pt", padding="longest",
                           truncation=True, max_length=MAX_LENGTH)  # fmt: skip
        targets = torch.tensor([labels.index(row["label"]) for row in batch])
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(**inputs).logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    print(f"loss of the last batch: {loss.item():.3f}")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def batches(rows: Sequence[dict[str, str]], epochs: int) -> Iterator[list[dict[str, str]]]:
    """Batches of texts of similar length, in random order."""
    generator = np.random.default_rng(0)
    order = np.argsort([len(row["text"]) for row in rows], kind="stable")
    chunks = np.split(order, range(BATCH_SIZE, len(rows), BATCH_SIZE))
    for _ in range(epochs):
        for index in generator.permutation(len(chunks)):
            yield [rows[i] for i in chunks[index]]


if __name__ == "__main__":
    main()
