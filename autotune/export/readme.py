"""The README of an exported folder: how to run it, what it promises, where each lever went."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.analysis.text import format_interval, format_metric
from autotune.domain.metrics import select_metrics

RUNS = """\
It fine-tunes `{model}` on the rows in `data/`, writes speed and scores to `metrics.json` and the
model to `trained/`. autotune is not needed; where it is installed, `autotune verify .` runs this
and compares with what was measured."""


def readme(document: Mapping[str, Any], summary: str, locations: Mapping[str, str]) -> str:
    """Markdown. ``document`` is what goes into ``strategy.json``."""
    command = shlex.join(document["command"])
    return (
        "\n\n".join(
            [
                f"# {document['study']}, trial {document['trial']}, for {document['format']}",
                f"{summary}\n\n```\npip install -r requirements.txt\n{command}\n```",
                RUNS.format(model=document["task"]["model"]),
                *_warning(document["left_out"]),
                "## What the trial measured",
                table(("metric", "value", "95% interval"), _promises(document["measured"])),
                f"On {_where(document['environment'])}. Another machine will differ.",
                "## The strategy, and where each part of it is set",
                table(("lever", "setting", "set in"), _settings(document, locations)),
                "The files are sealed by `SHA256SUMS` (`sha256sum --check SHA256SUMS`).",
            ]
        )
        + "\n"
    )


def _warning(left_out: Mapping[str, str]) -> list[str]:
    if not left_out:
        return []
    lines = [f"- `{lever}`: {reason}" for lever, reason in left_out.items()]
    return ["## LEFT OUT\n\nWhat was measured had these, and this folder has not:\n\n"
            + "\n".join(lines)]  # fmt: skip


def _promises(measured: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    rows = []
    for name in select_metrics(lambda metric: metric.in_export):
        if name in measured:
            value, ci95 = measured[name]["value"], measured[name]["ci95"]
            rows.append((name, format_metric(name, value), format_interval(name, ci95)))
    return rows


def _where(environment: Mapping[str, Any]) -> str:
    names = ("device", "threads", "cpu_capability", "torch", "transformers")
    facts = [f"{name} {environment[name]}" for name in names if name in environment]
    return ", ".join(facts) or "an unrecorded machine"


def _settings(
    document: Mapping[str, Any], locations: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    return [
        (lever, f"`{value}`", "LEFT OUT" if lever in document["left_out"]
         else locations.get(lever, "its default, which changes nothing"))
        for lever, value in document["strategy"].items()
    ]  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
