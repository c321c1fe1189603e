"""``autotune import``: makes a study file that starts with a trainer's configuration.

The format is detected from the keys of the file. The study file lists the skipped settings.
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
from autotune.spec import starter, study_name


def read_configuration(path: Path) -> ImportedConfig:
    """Read a TrainingArguments JSON, an Accelerate YAML or a DeepSpeed JSON.

    Raises :class:`UsageError` for any other file.
    """
    document = _document(path)
    for keys, read in READERS.items():
        if keys & document.keys():
            try:
                return read(document)
            except (AttributeError, TypeError, ValueError) as error:
                raise UsageError(
                    f"{path}: a setting has a value of the wrong type: {error}",
                    hint="check that the trainer can load this file",
                ) from error
    raise UsageError(
        f"{path}: not TrainingArguments, nor a configuration of Accelerate or DeepSpeed",
        hint="give training_args.json, an accelerate config YAML, or ds_config.json",
    )


def study_file(imported: ImportedConfig, name: str) -> str:
    """A study file that tries the imported strategy right after the default."""
    strategy = ", ".join(f"{lever}: {_yaml(value)}" for lever, value in imported.levers.items())
    lines = [f"#   {key}: {reason}" for key, reason in imported.skipped.items()]
    skipped = ["", "# Skipped settings:", *lines] if lines else []
    head = [f"# Made from {imported.source} by autotune import.", *skipped, ""]
    text = starter(study_name(name), [strategy])
    for key, value in imported.task.items():
        text = _with_task_key(text, key, value)
    return "\n".join(head) + text


def _with_task_key(text: str, key: str, value: Any) -> str:
    """``text`` with ``key`` of the section ``task`` set to ``value``."""
    lines = text.splitlines(keepends=True)
    start = lines.index("task:\n") + 1
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("  "))
    alternative = {"steps": "epochs", "epochs": "steps"}.get(key, key)
    other_lines = [
        line
        for line in lines[start:end]
        if not line.strip().startswith((f"{key}:", f"{alternative}:"))
    ]
    return "".join([*lines[:start], *other_lines, f"  {key}: {_yaml(value)}\n", *lines[end:]])


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def _document(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="check the path") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path}: cannot be parsed: {error}", hint="the file may be truncated"
        ) from error
    if not isinstance(document, dict):
        raise UsageError(
            f"{path}: not a mapping of settings", hint="give the configuration file of the trainer"
        )
    return document
