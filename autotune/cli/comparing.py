"""Tables of ``verify`` and ``diff``."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from autotune.analysis.summary import interval, shown, times
from autotune.cli.tables import setting
from autotune.export.verify import Check
from autotune.metrics import METRICS
from autotune.report.difference import Difference


def checks(found: Sequence[Check]) -> Table:
    """Promised against reached, a row a promise."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("metric", "promised", "reached", "ratio", ""):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for check in found:
        word = Text("held", "green") if check.held else Text("NOT HELD", "bold red")
        table.add_row(
            METRICS[check.metric].label,
            _figure(check.metric, check.promised, check.promised_ci95),
            _figure(check.metric, check.reached, check.reached_ci95),
            f"{check.ratio:.3f}",
            word,
        )
    return table


def _figure(metric: str, value: float, ends: tuple[float, float] | None) -> Text:
    """A value and, below it, its 95% interval."""
    text = Text(shown(metric, value))
    return text.append(f"\n{interval(metric, ends)}", "dim") if ends else text


def difference(found: Difference) -> Group:
    """Settings that differ, then all figures of both sides."""
    settings = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("lever", found.first, found.second):
        settings.add_column(head)
    for lever, (first, second) in found.settings.items():
        settings.add_row(lever, setting(first), setting(second))
    figures = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("metric", found.first, found.second, "ratio", "intervals"):
        figures.add_column(head, justify="left" if head == "metric" else "right")
    for one in found.figures:
        apart = {True: "apart", False: "overlap", None: ""}[one.apart]
        figures.add_row(
            METRICS[one.metric].label if one.metric in METRICS else one.metric,
            shown(one.metric, one.first),
            shown(one.metric, one.second),
            "" if one.ratio is None else times(one.ratio),
            apart,
        )
    none = Text("the same strategy", "dim")
    return Group(settings if found.settings else none, figures, *map(Text, found.notes))
