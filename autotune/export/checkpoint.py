"""``--with-model``: the fine-tuned model of an exported folder, with a model card."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.analysis import markdown
from autotune.analysis.text import format_interval, format_metric
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import UsageError
from autotune.export import checksums
from autotune.export.directory import METRICS, exported_files, remove, require_no_folder
from autotune.export.readme import LOAD_PRUNED_FUNCTION
from autotune.plugins import call_with_plugins
from autotune.ports import Executor

CHECKPOINT = "checkpoint"

CARD = """\
---
{base}pipeline_tag: {tag}
library_name: transformers
---

# {model}, fine-tuned for {kind}

Trained with the strategy and seed ({seed}) of trial {trial} of the autotune study {study}.
Load it with `AutoModel...from_pretrained`.{note}

## Scores of this checkpoint

{scores}

The search compared strategies on `validation`, and used `test` for its confirmations only.

## Results of the trial

{measured}

## Strategy

{strategy}

## Data

{dataset}, labels: {labels}. {length}

## Environment

{environment}
"""

PIPELINE_TAGS = {"regression": "text-classification", "multi-label": "text-classification"}
"""The hub's name of a kind of task, where it has another one."""

CUT = "Texts are truncated to {} tokens."
DIVIDED = "Texts of more than {} tokens are divided into windows."

PRUNED = """

Attention heads were pruned. The config cannot express this, so their weights are stored as zeros,
which give the same outputs. `pruning.json` lists the remaining heads; `{load_pruned}` of the
exported folder removes the others, which makes the model faster."""


def add_model(directory: Path, executor: Executor, plugins: Sequence[str] = ()) -> Sequence[Path]:
    """Fine-tune in a worker with the ``plugins`` of the study as ``directory`` says, write the
    model to its ``checkpoint/`` with a card, and return all files. Raises :class:`UsageError` for a
    folder without a script, and for a strategy that its one process cannot follow."""
    from autotune.export.templates.loop import run

    if not (directory / "train.py").is_file():
        raise UsageError(
            "this format exports no model", hint="choose another format for --with-model"
        )
    document = json.loads((directory / "strategy.json").read_text(encoding="utf-8"))
    if document["strategy"].get("offload") == "parameters":
        raise UsageError(
            "offload = parameters: the one process of --with-model keeps weights on its GPU",
            hint=f"run the command in {directory}/README.md: it leaves the model in trained/",
        )
    trained = directory / CHECKPOINT
    require_no_folder(directory / METRICS)
    _require_no_other_files(directory, trained)
    for path in (trained, directory / METRICS):
        remove(path)  # a link would lead the worker out of the folder
    executor.call(call_with_plugins, plugins, run, str(directory), CHECKPOINT)
    metrics = json.loads((directory / METRICS).read_text(encoding="utf-8"))
    is_pruned = (trained / "pruning.json").exists()
    note = PRUNED.format(load_pruned=LOAD_PRUNED_FUNCTION) if is_pruned else ""
    card = model_card(document, metrics, note=note)
    (trained / "README.md").write_text(card, encoding="utf-8")
    checksums.add_files(directory, [path for path in trained.rglob("*") if path.is_file()])
    return exported_files(directory)


def _require_no_other_files(directory: Path, folder: Path) -> None:
    """Raise :class:`UsageError` if ``folder`` has files that are not of the export around it."""
    manifest = checksums.read_manifest(directory) or {}
    paths = () if folder.is_symlink() else (folder, *sorted(folder.rglob("*")))
    files = [path for path in paths if os.path.lexists(path) and not path.is_dir()]
    names = [path.relative_to(directory).as_posix() for path in files]
    if others := [name for name in names if name not in manifest]:
        raise UsageError(
            f"{folder} has files that are not from an export ({', '.join(others[:5])})",
            hint="move them elsewhere, then repeat the command; or name a new folder: --output DIR",
        )


def model_card(document: Mapping[str, Any], metrics: Mapping[str, Any], *, note: str) -> str:
    """The card as Markdown, from ``strategy.json`` and ``metrics.json``. ``note`` says what a
    reader has to know to load the model."""
    from autotune.export.assets import is_hub_model

    task, head = document["task"], ("metric", "value", "95% interval", "n")
    scores = [
        (f"{split} {row[0]}", *row[1:])
        for split in ("validation", "test")
        for row in score_rows(metrics[split])
    ]
    settings = [(lever, markdown.code(value)) for lever, value in document["strategy"].items()]
    facts = [
        (name, markdown.escape(value)) for name, value in sorted(document["environment"].items())
    ]
    base = f"base_model: {json.dumps(task['model'])}\n" if is_hub_model(task["model"]) else ""
    return CARD.format(
        base=base,
        **{name: document[name] for name in ("trial", "seed")},
        **{name: markdown.escape(task[name]) for name in ("model", "kind")},
        study=markdown.escape(document["study"]),
        dataset=markdown.code(task["dataset"]),
        note=note,
        scores=markdown.table(head, scores),
        measured=markdown.table(head, score_rows(document["measured"])),
        strategy=markdown.table(("lever", "setting"), settings),
        labels=", ".join(map(markdown.escape, document["data"]["label_names"])),
        length=(DIVIDED if divides_texts(document) else CUT).format(document["data"]["max_length"]),
        tag=PIPELINE_TAGS.get(task["kind"], task["kind"]),
        environment=markdown.table(("", ""), facts),
    )


def divides_texts(document: Mapping[str, Any]) -> bool:
    """Whether the model of ``strategy.json`` predicts long texts in windows."""
    task = document["task"]
    has_stride = task.get("stride") is not None and "stride" not in document.get("left_out", {})
    return has_stride or TASK_KINDS[task["kind"]].predicts_spans


def score_rows(records: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """A row of each record: the metric, its value, its 95% interval and the number of examples."""
    return [
        (name, format_metric(name, record["value"]), format_interval(name, record["ci95"]),
         str(record["n"]))
        for name, record in records.items()
    ]  # fmt: skip
