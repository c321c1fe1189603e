"""A study as one document that can be sent to somebody: HTML, Markdown or PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.domain import Study, Trial
from autotune.errors import UsageError

KINDS = ("html", "md", "pdf")


def write_report(
    study: Study,
    trials: Sequence[Trial],
    environment: Mapping[str, Any],
    target: Path,
    kind: str = "html",
) -> Path:
    """Write the report of ``study`` to ``target`` as ``html``, ``md`` or ``pdf``; returns it.

    Raises :class:`UsageError` for another kind, for a study without a trial, or where the file
    cannot be written.
    """
    from autotune.report.content import content
    from autotune.report.html import page
    from autotune.report.markdown import text
    from autotune.report.pdf import print_pdf

    if kind not in KINDS:
        raise UsageError(f"no report format {kind!r}", hint=f"one of {', '.join(KINDS)}")
    if not trials:
        raise UsageError(
            f"study {study.name} has no trial to report", hint=f"autotune resume {study.name}"
        )
    blocks = list(content(study, trials, environment))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "md":
            target.write_text(text(blocks), encoding="utf-8")
        elif kind == "html":
            target.write_text(page(f"autotune: {study.name}", blocks), encoding="utf-8")
        else:
            print_pdf(page(f"autotune: {study.name}", blocks), target)
    except OSError as error:
        raise UsageError(
            f"cannot write {target}: {error.strerror or error}", hint="name another file: -o FILE"
        ) from error
    return target
