"""The README of an exported folder: how to run it, expected results, where levers are set."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.analysis.text import format_interval, format_metric
from autotune.domain.metrics import select_metrics

INTRODUCTION = """\
This fine-tunes `{model}` on the rows in `data/`, and writes throughput and scores to `metrics.json`
and the model to `trained/`. It does not require autotune. With autotune installed,
`autotune verify .` runs it and compares the results with those of the trial."""


def readme(document: Mapping[str, Any], summary: str, locations: Mapping[str, str]) -> str:
    """The README as Markdown; ``document`` is the content of ``strategy.json``."""
    command = shlex.join(document["command"])
    return (
        "\n\n".join(
            [
                f"# {document['study']}, trial {document['trial']}, for {document['format']}",
                f"{summary}\n\n```\npip install -r requirements.txt\n{command}\n```",
                INTRODUCTION.format(model=document["task"]["model"]),
                *_warning(document["left_out"]),
                "## Results of the trial",
                table(("metric", "value", "95% interval"), _expected(document["measured"])),
                f"On {_environment(document['environment'])}. Other machines will differ.",
                "## Strategy, and where each lever is set",
                table(("lever", "setting", "set in"), _settings(document, locations)),
                "`SHA256SUMS` lists the checksums of all files (`sha256sum --check SHA256SUMS`).",
            ]
        )
        + "\n"
    )


def _warning(left_out: Mapping[str, str]) -> list[str]:
    if not left_out:
        return []
    lines = [f"- `{lever}`: {reason}" for lever, reason in left_out.items()]
    return ["## LEFT OUT\n\nThe trial used these settings; this folder does not:\n\n"
            + "\n".join(lines)]  # fmt: skip


def _expected(measured: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    rows = []
    for name in select_metrics(lambda metric: metric.in_export):
        if name in measured:
            value, ci95 = measured[name]["value"], measured[name]["ci95"]
            rows.append((name, format_metric(name, value), format_interval(name, ci95)))
    return rows


def _environment(environment: Mapping[str, Any]) -> str:
    names = ("device", "threads", "cpu_capability", "torch", "transformers")
    facts = [f"{name} {environment[name]}" for name in names if name in environment]
    return ", ".join(facts) or "an unrecorded machine"


def _settings(
    document: Mapping[str, Any], locations: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    return [
        (lever, f"`{value}`", "LEFT OUT" if lever in document["left_out"]
         else locations.get(lever, "default value, no effect"))
        for lever, value in document["strategy"].items()
    ]  # fmt: skip


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
