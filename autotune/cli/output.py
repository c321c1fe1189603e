"""The two consoles: results go to stdout, everything else to stderr."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from autotune.analysis.text import metric_label, strategy_settings
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import METRICS, Metric
from autotune.domain.text import escape_control_characters, printable
from autotune.errors import AutotuneError

SIZE_VARIABLES = ("COLUMNS", "LINES")


class PrintableConsole(Console):
    """A console that prints no control characters of names, reasons and messages, which come from
    data, models and libraries: a terminal would obey them. Styles are of rich, and stay.

    ``COLUMNS`` and ``LINES`` that are no size, such as 0, count as not set."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, _environ=_with_valid_size(os.environ))

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def _with_valid_size(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name not in SIZE_VARIABLES or re.fullmatch("[1-9][0-9]{0,3}", value)
    }


EXIT_INTERRUPTED = 130
"""Exit status after Ctrl-C."""

out = PrintableConsole(highlight=False, soft_wrap=False)
"""Results for people."""

err = PrintableConsole(stderr=True, highlight=False)
"""Progress, notes and errors."""


def replace_unprintable() -> None:
    """Print characters that the encoding of stdout or stderr lacks as ``?``: a terminal without
    UTF-8 must not end a search. What is printed to a stream that is closed is lost."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_json(document: Mapping[str, Any] | Sequence[Any], *, indent: int | None = 2) -> None:
    """Print one JSON document on stdout, on one line if ``indent`` is ``None``. NaN and infinity
    become ``null``. Characters that control a terminal, or that stdout cannot encode, are
    escaped."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(_finite(document), indent=indent, ensure_ascii=not is_unicode, default=str)
    sys.stdout.write(escape_control_characters(text) + "\n")


def _finite(document: Any) -> Any:
    if isinstance(document, float):
        return document if math.isfinite(document) else None
    if isinstance(document, Mapping):
        return {str(key): _finite(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_finite(value) for value in document]
    return document


def info(message: str) -> None:
    """Print a note to stderr, wrapped at spaces only, so that paths and URLs stay in one piece."""
    lines = textwrap.wrap(message, err.width, break_long_words=False, break_on_hyphens=False)
    err.print("\n".join(lines), style="dim", markup=False, soft_wrap=True)


def print_plan(text: str, warning: str | None) -> None:
    """Print the plan of a budget, and what to set where too few trials fit."""
    info(f"plan: {text}")
    if warning is not None:
        err.print(f"plan: {warning}", style="yellow", markup=False, soft_wrap=True)


def print_error(error: AutotuneError) -> None:
    """Print an error and its hint."""
    err.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True)
    if error.hint:
        err.print(f"[bold]hint:[/] {escape(error.hint)}", soft_wrap=True)


STATE_STYLES: Mapping[State, str] = {
    State.QUEUED: "dim",
    State.RUNNING: "cyan",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.INFEASIBLE: "magenta",
    State.FAILED: "red",
    State.INTERRUPTED: "dim yellow",
}


def non_default_settings(study: Study, trial: Trial) -> str:
    """The settings that differ from the default, as ``lever=value lever=value``."""
    return " ".join(strategy_settings(trial.strategy, study.baseline)) or study.baseline_name


def unit_heading(metric: Metric) -> str:
    """The unit below the label of a metric; empty if each value has it, as in ``81.2%``."""
    return "" if metric.unit in ("ratio", "USD") else metric.unit


def label_with_unit(name: str) -> str:
    """The label of a metric with its unit, for rows of values without it."""
    unit = unit_heading(METRICS[name]) if name in METRICS else ""
    return f"{metric_label(name)} ({unit})" if unit else metric_label(name)
