"""The section of a report that says where the gain of the recommended trials comes from."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.analysis.attribution import METHOD_NOTE, Attribution, path_sentence, path_table
from autotune.analysis.snapshot import Snapshot
from autotune.domain import Trial
from autotune.report.blocks import Block, Figure, Heading, Paragraph, Table
from autotune.report.path_figure import path_figure


def path_section(snapshot: Snapshot) -> Iterator[Block]:
    """The path from the default to each recommended trial, in a plot and a table."""
    by_number = {r.trial.number: r.trial for r in snapshot.recommendations.values()}
    attributions = [(trial, snapshot.attribution(trial)) for trial in by_number.values()]
    paths = [(trial, path) for trial, path in attributions if path is not None]
    if not paths:
        return
    yield Heading("Where the gain comes from")
    yield Paragraph(METHOD_NOTE)
    for trial, path in paths:
        yield from _path(snapshot, trial, path)


def _path(snapshot: Snapshot, trial: Trial, path: Attribution) -> Iterator[Block]:
    goals = [g for g, r in snapshot.recommendations.items() if r.trial.number == trial.number]
    yield Heading(f"Trial {trial.number}, {' and '.join(goals)}", 3)
    yield Figure(
        path_figure(snapshot.study, path, static=True),
        f"Contributions of the levers of trial {trial.number}: {path_sentence(path)}.",
    )
    head, rows = path_table(path)
    yield Table(head, rows, frozenset(range(1, len(head))))
