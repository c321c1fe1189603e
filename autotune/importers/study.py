"""``autotune import``: from a trainer's own configuration to a study that starts where it is.

A format is told by the names in the file. What has no lever is listed, never lost in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autotune.errors import UsageError
from autotune.importers import READERS
from autotune.importers.base import ImportedConfig
from autotune.spec import starter


def read_configuration(path: Path) -> ImportedConfig:
    """Read a TrainingArguments JSON, an Accelerate YAML or a DeepSpeed JSON.

    Raises :class:`UsageError` where the file is none of these.
    """
    document = _document(path)
    for told_by, read in READERS.items():
        if told_by & document.keys():
            try:
                return read(document)
            except (AttributeError, TypeError, ValueError) as error:
                raise UsageError(
                    f"{path}: a value is not of the kind that its setting takes: {error}",
                    hint="would the trainer itself read it?",
                ) from error
    raise UsageError(
        f"{path}: neither TrainingArguments, nor Accelerate's, nor DeepSpeed's configuration",
        hint="give training_args.json, an accelerate config YAML, or ds_config.json",
    )


def study_file(imported: ImportedConfig, name: str) -> str:
    """A study file that tries the imported strategy right after the default."""
    strategy = ", ".join(f"{lever}: {_yaml(value)}" for lever, value in imported.levers.items())
    lines = [f"#   {key}: {reason}" for key, reason in imported.skipped.items()]
    left = ["", "# Not taken from there:", *lines] if lines else []
    head = [f"# Made from {imported.source} by autotune import.", *left, ""]
    text = starter(name)
    for key, value in imported.task.items():
        text = _with_task_key(text, key, value)
    comment = "# Strategies to try before the sampler proposes its own.\n"
    before, _, after = text.partition(comment)
    rest = after.partition("\n\n")[2]
    started = f"# Where you are now: measured first.\nstart_with:\n  - {{{strategy}}}\n\n"
    return "\n".join(head) + before + started + rest


def _with_task_key(text: str, key: str, value: Any) -> str:
    """``text`` with ``key`` of the task set, whatever it said of it."""
    lines = text.splitlines(keepends=True)
    start = lines.index("task:\n") + 1
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("  "))
    gone = {"steps": "epochs", "epochs": "steps"}
    kept = [
        line
        for line in lines[start:end]
        if not line.strip().startswith((f"{key}:", f"{gone.get(key, key)}:"))
    ]
    return "".join([*lines[:start], *kept, f"  {key}: {_yaml(value)}\n", *lines[end:]])


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def _document(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a file that is there") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {error}", hint="is it whole?") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: holds no settings by name", hint="give the trainer's own file")
    return document
