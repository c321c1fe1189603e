"""Writes the report of a study to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.analysis.snapshot import Snapshot
from autotune.errors import UsageError
from autotune.report import FORMATS
from autotune.report.content import content
from autotune.report.html import html_page
from autotune.report.markdown import markdown_text
from autotune.report.pdf import print_pdf


def write_report(
    snapshot: Snapshot, environment: Mapping[str, Any], target: Path, file_format: str = "html"
) -> Path:
    """Write the report of a study to ``target`` as ``html``, ``md`` or ``pdf`` and return it.

    Raises :class:`UsageError` for another format, for a study without trials, or if the file cannot
    be written.
    """
    name = snapshot.study.name
    if file_format not in FORMATS:
        valid = ", ".join(FORMATS)
        raise UsageError(f"no report format {file_format!r}", hint=f"one of {valid}")
    if not snapshot.trials:
        raise UsageError(f"study {name} has no trial to report", hint=f"autotune resume {name}")
    blocks = list(content(snapshot, environment))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if file_format == "md":
            target.write_text(markdown_text(blocks), encoding="utf-8")
        elif file_format == "html":
            target.write_text(html_page(f"autotune: {name}", blocks), encoding="utf-8")
        else:
            print_pdf(html_page(f"autotune: {name}", blocks), target)
    except OSError as error:
        raise UsageError(
            f"cannot write {target}: {error.strerror or error}", hint="name another file: -o FILE"
        ) from error
    return target
