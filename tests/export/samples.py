"""A tiny study on generated text, and trials of it that measured what a test says."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.domain import (
    Categorical,
    Device,
    Dimension,
    Host,
    Measurement,
    Objective,
    SearchSpace,
    State,
    Strategy,
    Study,
    Task,
    Trial,
    TrialResult,
)
from autotune.levers import defaults

CPU = Device("cpu", "cpu", bf16=True)
HOST = Host("made up", (0, 1), 2, 8.0, devices=(CPU,), libc="glibc 2.36")
WORDS = {"food": "bread soup rice apple cheese", "weather": "rain wind sun cloud storm"}
FILLER = ("today", "there", "was", "some", "of", "it", "and", "then", "more", "for", "us", "here")


def write_data(folder: Path, examples: int = 100) -> Path:
    """A file of two classes that differ in a word or two; 80% of it becomes train."""
    source = random.Random(0)
    path = folder / "train.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(examples):
            label = sorted(WORDS)[number % 2]
            said = source.sample(WORDS[label].split(), 2) + source.choices(
                FILLER, k=source.randint(2, 20)
            )
            source.shuffle(said)
            text = f"{' '.join(said)} {number}"
            file.write(json.dumps({"text": text, "label": label}) + "\n")
    return path


def study(dataset: Path | str = "train.jsonl", **task: Any) -> Study:
    """A study of ``builtin:bert-tiny`` on a file."""
    whole = Task(model="builtin:bert-tiny", dataset={"train": str(dataset)}, max_length=32, **task)
    space = SearchSpace((Dimension("batch_size", Categorical((8, 16))),), defaults(HOST))
    objectives = (
        Objective("train_samples_per_second", "maximize"),
        Objective("accuracy", "maximize"),
    )
    return Study("tiny", whole, objectives, space)


def trial(measured: Mapping[str, float] | None = None, **levers: Any) -> Trial:
    """A complete trial of the default configuration with ``levers`` set otherwise."""
    values = {**defaults(HOST), "threads": 1, **levers}
    found = {name: Measurement(name, value, "") for name, value in (measured or {}).items()}
    return Trial(7, State.COMPLETE, Strategy(values), result=TrialResult(found))
