"""``autotune import``: makes a study file that starts with a trainer's configuration.

The format is detected from the keys of the file. The study file lists the skipped settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from autotune.domain.text import one_line, shorten
from autotune.errors import UsageError
from autotune.importers import READERS
from autotune.importers.base import ImportedConfig
from autotune.spec import starter, study_name
from autotune.spec.yaml import MAX_CHARACTERS, LimitedLoader

MAX_MESSAGE = 200
"""Characters of the text of a file that a message repeats."""

STARTER_COMMENT = "# Strategies to try first, before the models of the sampler have data.\n"
IMPORTED_COMMENT = (
    "# The imported strategy. It runs second, after the default that it is compared with.\n"
)
BASELINE_COMMENT = "# The imported strategy. It runs first, and all others are compared with it.\n"
BASELINE_WORDS = {
    "baseline is the default strategy, which is measured first": "baseline is the strategy below",
    "the defaults of Hugging Face's Trainer": "the settings of the baseline",
}
"""Words of a starter file, and what is true instead where it has a baseline of its own."""


def read_configuration(path: Path) -> ImportedConfig:
    """Read a TrainingArguments JSON, an Accelerate YAML, a DeepSpeed JSON or an adapter of peft.

    Raises :class:`UsageError` for any other file.
    """
    document = _document(path)
    for keys, read in READERS.items():
        if keys & document.keys():
            try:
                imported = read(document)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                problem = shorten(one_line(error), MAX_MESSAGE)
                raise UsageError(
                    f"{path}: a setting has a value of the wrong type: {problem}",
                    hint="check that the trainer can load this file",
                ) from error
            # Keys and reasons contain text of the file, and become comments and messages.
            skipped = {
                one_line(key): shorten(one_line(reason), MAX_MESSAGE)
                for key, reason in imported.skipped.items()
            }
            return replace(imported, skipped=skipped)
    raise UsageError(
        f"{path}: not TrainingArguments, nor a configuration of Accelerate or DeepSpeed",
        hint="give training_args.json, an accelerate config YAML, or ds_config.json",
    )


def study_file(imported: ImportedConfig, name: str, *, as_baseline: bool = False) -> str:
    """A study file that tries the imported strategy right after the default, with which every
    strategy is compared; or, ``as_baseline``, one that compares every strategy with the imported
    one."""
    strategy = ", ".join(f"{lever}: {_yaml(value)}" for lever, value in imported.levers.items())
    lines = [f"#   {key}: {reason}" for key, reason in imported.skipped.items()]
    skipped = ["", "# Skipped settings:", *lines] if lines else []
    head = [f"# Made from {imported.source} by autotune import.", *skipped, ""]
    text = starter(study_name(name), [strategy])
    if as_baseline:
        section = f"{STARTER_COMMENT}start_with:\n  - {{{strategy}}}\n"
        text = text.replace(section, f"{BASELINE_COMMENT}baseline: {{{strategy}}}\n")
        for words, own_words in BASELINE_WORDS.items():
            text = text.replace(words, own_words)
    else:
        text = text.replace(STARTER_COMMENT, IMPORTED_COMMENT)
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
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=LimitedLoader)  # nosec B506  # a subclass of the safe loader


def _document(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CHARACTERS + 1)
        if len(raw) > MAX_CHARACTERS:
            raise ValueError(f"longer than {MAX_CHARACTERS:,} bytes")
        text = raw.decode("utf-8-sig")
        is_json = path.suffix.lower() == ".json"
        document = json.loads(text) if is_json else _load_yaml(text)
        document = _with_text_keys(document)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="check the path") from error
    except (ArithmeticError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(
            f"{_location(path, error)}: cannot be parsed: {_problem(error)}",
            hint="give the file as the trainer has written it; it may be truncated",
        ) from None
    if not isinstance(document, dict):
        raise UsageError(
            f"{path}: not a mapping of settings", hint="give the configuration file of the trainer"
        )
    return document


def _with_text_keys(data: Any) -> Any:
    """``data`` with text as keys, which YAML reads as numbers or booleans too."""
    if isinstance(data, dict):
        return {str(key): _with_text_keys(value) for key, value in data.items()}
    return [_with_text_keys(item) for item in data] if isinstance(data, list) else data


def _location(path: Path, error: Exception) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
    return shorten(one_line(problem or error), MAX_MESSAGE)
