"""The README of an exported folder: how to run it, expected results, where levers are set."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Any

from autotune.analysis import markdown
from autotune.analysis.text import format_interval, format_metric
from autotune.domain.metrics import select_metrics
from autotune.domain.registry import EXTENSIONS
from autotune.export.vendoring import rename_modules
from autotune.trial.tasks import get_task_type

INTRODUCTION = """\
This fine-tunes {model} on the rows in `data/`, and writes throughput and scores to `metrics.json`
and the model to `trained/`. It does not require autotune. With autotune installed,
`autotune verify .` runs it and compares the results with those of the trial."""

LOAD_PRUNED_FUNCTION = rename_modules("autotune.export.templates.checkpoint.load_pruned")

LOAD = """\
## Load the trained model

```python
from {package} import {auto_class}

model = {auto_class}.from_pretrained("trained")
```"""

LOAD_PRUNED = """\
## Load the trained model

Run this in the folder. It loads the model with the size that it was trained with:

```python
from {package} import {auto_class}
from {module} import {function}

model = {function}({auto_class}, "trained")
```

`{auto_class}.from_pretrained("trained")` works without the folder. Its config cannot express
pruned attention heads, so that model has zeros in their place: it is larger and slower, with the
same outputs."""

CAP = """\
`data/train.jsonl` has the rows of the trial: at most {rows} of the data set, the study's
`task.train_samples`. To train on all rows, export with `--all-rows`."""

ALL_ROWS = """\
`data/train.jsonl` has all rows of the data set. The trial was measured on at most {rows} of
them."""


def readme(document: Mapping[str, Any], summary: str, locations: Mapping[str, str]) -> str:
    """The README as Markdown; ``document`` is the content of ``strategy.json``."""
    command = shlex.join(document["command"])
    title = f"{document['study']}, trial {document['trial']}, for {document['format']}"
    return (
        "\n\n".join(
            [
                f"# {markdown.escape(title)}",
                summary,
                markdown.code_block(f"pip install -r requirements.txt\n{command}"),
                INTRODUCTION.format(model=markdown.code(document["task"]["model"])),
                *_rows_note(document),
                *_warning(document["left_out"]),
                _loading(document),
                "## Results of the trial",
                *_comparison(document),
                markdown.table(
                    ("metric", "value", "95% interval", "measured in"),
                    _expected(document["measured"], document["trial"]),
                ),
                f"On {_environment(document['environment'])}. Other machines will differ.",
                "## Strategy, and where each lever is set",
                markdown.table(("lever", "setting", "set in"), _settings(document, locations)),
                "`SHA256SUMS` lists the checksums of all files (`sha256sum --check SHA256SUMS`).",
            ]
        )
        + "\n"
    )


def _rows_note(document: Mapping[str, Any]) -> list[str]:
    measured, exported = document["data"]["train_samples"], document["task"]["train_samples"]
    if measured is None:
        return []
    return [(ALL_ROWS if exported is None else CAP).format(rows=f"{measured:,}")]


def _loading(document: Mapping[str, Any]) -> str:
    """How to load ``trained/``; a model whose heads were pruned needs a function of the folder."""
    package, auto_class = "transformers", get_task_type(document["task"]["kind"]).auto_class
    if own := document["task"].get("model_class"):
        module, _, auto_class = own.partition(":")
        package = _exported_module(module)
    if not document["strategy"].get("pruning_ratio"):
        return LOAD.format(package=package, auto_class=auto_class)
    module, _, function = LOAD_PRUNED_FUNCTION.rpartition(".")
    return LOAD_PRUNED.format(
        package=package, auto_class=auto_class, module=module, function=function
    )


def _exported_module(name: str) -> str:
    """The module of the user's own class: an installed one, or the copy of a plug-in file."""
    plugin = f"{EXTENSIONS}.{name}"
    return rename_modules(plugin) if plugin in sys.modules else name


def _warning(left_out: Mapping[str, str]) -> list[str]:
    if not left_out:
        return []
    lines = [
        f"- {markdown.code(lever)}: {markdown.escape(reason)}" for lever, reason in left_out.items()
    ]
    return ["## LEFT OUT\n\nThe trial used these settings; this folder does not:\n\n"
            + "\n".join(lines)]  # fmt: skip


def _comparison(document: Mapping[str, Any]) -> list[str]:
    """The trial against the default of its study, after shrinkage."""
    comparison = document.get("comparison")
    return [f"In its study: {markdown.escape(comparison)}."] if comparison else []


def _expected(
    measured: Mapping[str, Mapping[str, Any]], trial: int
) -> list[tuple[str, str, str, str]]:
    """Value, interval or why there is none, and the trial that measured it."""
    rows = []
    for name in select_metrics(lambda metric: metric.in_export):
        if name not in measured:
            continue
        record = measured[name]
        interval = format_interval(name, record["ci95"]) or f"none: {record['why_no_interval']}"
        source = f"trial {record.get('source', trial)}"
        rows.append((name, format_metric(name, record["value"]), interval, source))
    return rows


def _environment(environment: Mapping[str, Any]) -> str:
    names = ("device", "threads", "cpu_capability", "torch", "transformers")
    facts = [f"{name} {environment[name]}" for name in names if name in environment]
    return markdown.escape(", ".join(facts) or "an unrecorded machine")


def _settings(
    document: Mapping[str, Any], locations: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    return [
        (markdown.escape(lever), markdown.code(value), "LEFT OUT" if lever in document["left_out"]
         else locations.get(lever, "default value, no effect"))
        for lever, value in document["strategy"].items()
    ]  # fmt: skip
