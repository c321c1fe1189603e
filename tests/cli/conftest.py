"""A search of a tiny BERT on generated text, run once, and a way to run commands."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WORDS = {
    "weather": "rain wind sun cloud storm snow heat frost",
    "food": "bread soup rice apple cheese salt honey pepper",
}

STUDY = """\
study: tiny
task:
  model: builtin:bert-tiny
  dataset: {train: train.jsonl, validation: validation.jsonl, test: test.jsonl}
  max_length: 32
  seed: 1
objectives:
  - {metric: train_samples_per_second}
  - {metric: accuracy}
constraints:
  - peak_memory_gib <= 16
space:
  batch_size: [8, 16]
  pruning_ratio: [0.0, 0.5]
  learning_rate: {low: 1e-4, high: 1e-2, log: true}
budget: {trials: 3}
"""


CONFIRM = ("--set", "confirm={top: 1, seeds: 1}")
LARGER_SEARCH = ("search", "tiny.yaml", "--set", "budget.trials=6")
EXPORT = ("export", "tiny", "--trial", "0", "--to", "hf-trainer", "-o", "out")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """Runs ``autotune`` commands in a working directory."""

    path: Path

    def run(self, *arguments: str, timeout: float = 240) -> Result:
        process = subprocess.run(
            [sys.executable, "-m", "autotune", *arguments],
            cwd=self.path, env=self.environment, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
        return Result(process.returncode, process.stdout, process.stderr)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AUTOTUNE_")}
        folders = {f"AUTOTUNE_{n.upper()}": str(self.path / n) for n in ("cache", "locks")}
        return {**inherited, **folders, "COLUMNS": "120"}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_data(directory: Path) -> None:
    """Write three splits of short sentences in two classes."""
    rng = random.Random(0)
    for split, size in (("train", 96), ("validation", 40), ("test", 40)):
        rows = []
        for index in range(size):
            label = list(WORDS)[index % len(WORDS)]
            text = " ".join(rng.choices(WORDS[label].split(), k=rng.randint(3, 12)))
            rows.append({"text": f"{text} {split} {index}", "label": label})
        write_rows(directory / f"{split}.jsonl", rows)


def make_command_line(directory: Path) -> CommandLine:
    write_data(directory)
    (directory / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    return CommandLine(directory)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """A working directory with a study file and its data."""
    return make_command_line(tmp_path)


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, Result]:
    """A working directory after ``autotune search tiny.yaml``, and the output of that."""
    cli = make_command_line(tmp_path_factory.mktemp("cli"))
    return cli, cli.run("search", "tiny.yaml", timeout=600)


@dataclass(frozen=True)
class Refusal:
    """A copy of a searched folder whose data was changed and restored, and what a search and an
    export said while it was changed."""

    cli: CommandLine
    search: Result
    export: Result


@pytest.fixture(scope="session")
def refused(
    searched: tuple[CommandLine, Result], tmp_path_factory: pytest.TempPathFactory
) -> Refusal:
    """The search is asked to go on while the labels of its data are swapped."""
    cli = CommandLine(tmp_path_factory.mktemp("refused") / "copy")
    shutil.copytree(searched[0].path, cli.path)
    path = cli.path / "train.jsonl"
    original = path.read_text(encoding="utf-8")
    swapped = original.replace('"food"', '"x"').replace('"weather"', '"food"')
    path.write_text(swapped.replace('"x"', '"weather"'), encoding="utf-8")
    search, export = cli.run(*LARGER_SEARCH), cli.run(*EXPORT)
    path.write_text(original, encoding="utf-8")
    os.utime(path, (1, 1))
    return Refusal(cli, search, export)


@pytest.fixture(scope="session")
def confirmed(refused: Refusal) -> tuple[CommandLine, Result]:
    """The same folder after the search went on with a larger budget and confirmed a finalist, and
    the output of that."""
    cli = refused.cli
    return cli, cli.run(*LARGER_SEARCH, *CONFIRM, timeout=600)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs a search waits for it, which takes minutes on a busy machine."""
    for item in items:
        if {"searched", "refused", "confirmed"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(900))
