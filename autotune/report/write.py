"""Writes the report of a study to a file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.analysis.snapshot import Snapshot
from autotune.errors import UsageError
from autotune.report import FORMATS
from autotune.report.blocks import Block
from autotune.report.content import HEADING, content
from autotune.report.evaluation_section import Curves
from autotune.report.html import html_page
from autotune.report.markdown import markdown_text
from autotune.report.pdf import print_pdf

TITLE = "autotune: "
"""The title of a page begins with this."""

HEAD_BYTES = 1_000


def write_report(
    snapshot: Snapshot,
    environment: Mapping[str, Any],
    target: Path,
    file_format: str = "html",
    curves: Curves | None = None,
) -> Path:
    """Write the report of a study to ``target`` as ``html``, ``md`` or ``pdf`` and return it.
    ``curves`` are the learning curves, if trials have evaluations during training.

    Raises :class:`UsageError` for another format, for a study without trials, or if the file cannot
    be written or is another one than an earlier report. The file is replaced when it is complete.
    """
    name = snapshot.study.name
    if file_format not in FORMATS:
        valid = ", ".join(FORMATS)
        raise UsageError(f"no report format {file_format!r}", hint=f"one of {valid}")
    if not snapshot.trials:
        raise UsageError(f"study {name} has no trial to report", hint=f"autotune resume {name}")
    _require_replaceable(target)
    blocks = list(content(snapshot, environment, curves))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # such as /dev/stdout
            _write(name, blocks, target, file_format)
        else:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".autotune-") as scratch:
                complete = Path(scratch) / target.name
                _write(name, blocks, complete, file_format)
                complete.replace(target)
    except OSError as error:
        raise UsageError(
            f"cannot write {target}: {error.strerror or error}", hint="name another file: -o FILE"
        ) from error
    return target


def _write(name: str, blocks: Sequence[Block], target: Path, file_format: str) -> None:
    if file_format == "md":
        target.write_text(markdown_text(blocks), encoding="utf-8")
    elif file_format == "html":
        target.write_text(html_page(f"{TITLE}{name}", blocks), encoding="utf-8")
    else:
        print_pdf(html_page(f"{TITLE}{name}", blocks), target)


def _require_replaceable(target: Path) -> None:
    """Raise :class:`UsageError` for an existing file that is no report of autotune."""
    if not target.is_file():
        return
    with target.open("rb") as file:
        start = file.read(HEAD_BYTES)
        is_pdf = start.startswith(b"%PDF-")
        content = start + file.read() if is_pdf else start
    if content and not any(marker in content for marker in _markers(is_pdf)):
        raise UsageError(
            f"{target} exists and is no report of autotune",
            hint="name another file: -o FILE; or remove it first",
        )


def _markers(is_pdf: bool) -> Sequence[bytes]:
    """What the files of a report contain: the title."""
    if is_pdf:  # the title as text, or as hexadecimal digits for other characters
        return TITLE.encode(), TITLE.encode("utf-16-be").hex().upper().encode()
    return f"<title>{TITLE}".encode(), f"# {HEADING}".encode()
