"""Listings that adapt to the width of the terminal without breaking a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

MIN_DETAIL_WIDTH = 40
"""Columns that a table must leave for the details; with fewer they go on lines of their own."""
TABLE_GAP, LINE_GAP, INDENT = 3, 2, 4


@dataclass(frozen=True)
class Column:
    """A short figure a row. ``unit`` is the second line of the heading."""

    title: str
    unit: str = ""
    left: bool = False


@dataclass(frozen=True)
class Row:
    """One cell a column, and any number of longer texts."""

    cells: Sequence[str | Text]
    details: Sequence[str | Text] = ()
    style: str = ""


@dataclass(frozen=True)
class Listing:
    """Rows in the widest layout that fits: one table with the details in its last column; else a
    line of figures and lines of details a row; else a line a figure."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    title: str = ""
    details: str = ""
    """Heading of the details."""
    caption: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="bold")
        figures = sum(self._widths)
        detailed = any(row.details for row in self.rows)
        in_table = figures + TABLE_GAP * (len(self.columns) - 1) + 2
        if detailed:
            in_table += TABLE_GAP + min(self._detail_width, MIN_DETAIL_WIDTH)
        if in_table <= options.max_width:
            yield self._table(detailed)
        elif figures + LINE_GAP * (len(self.columns) - 1) <= options.max_width:
            yield from self._lines()
        else:
            yield from self._stack()
        if self.caption:
            yield Text(self.caption, style="dim")

    @property
    def _widths(self) -> list[int]:
        heads = [max(cell_len(c.title), cell_len(c.unit)) for c in self.columns]
        cells = [[_width(row.cells[index]) for row in self.rows] for index in range(len(heads))]
        return [max([head, *column]) for head, column in zip(heads, cells, strict=True)]

    @property
    def _detail_width(self) -> int:
        widths = [_width(detail) for row in self.rows for detail in row.details]
        return max([cell_len(self.details), *widths])

    def _table(self, detailed: bool) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in self.columns:
            head = f"{column.title}\n{column.unit}" if column.unit else column.title
            table.add_column(head, justify="left" if column.left else "right", no_wrap=True)
        if detailed:
            table.add_column(self.details, overflow="fold")
        for row in self.rows:
            details = [Text("\n").join(map(_text, row.details))] if detailed else []
            table.add_row(*map(_text, row.cells), *details, style=row.style)
        return table

    def _lines(self) -> Iterator[Text | Padding]:
        yield self._line([Text(column.title, style="bold") for column in self.columns])
        if any(column.unit for column in self.columns):
            yield self._line([Text(column.unit, style="bold") for column in self.columns])
        yield Text("─" * (sum(self._widths) + LINE_GAP * (len(self.columns) - 1)))
        for row in self.rows:
            yield self._line([_text(cell) for cell in row.cells], row.style)
            for detail in row.details:
                yield _indented(_text(detail), row.style)

    def _line(self, cells: Sequence[Text], style: str = "") -> Text:
        line = Text(style=style)
        for column, cell, width in zip(self.columns, cells, self._widths, strict=True):
            space = " " * (width - cell.cell_len)
            gap = " " * LINE_GAP if line else ""
            line.append(gap + ("" if column.left else space)).append_text(cell)
            line.append(space if column.left else "")
        line.rstrip()
        return line

    def _stack(self) -> Iterator[Text | Padding]:
        first, *others = self.columns
        for row in self.rows:
            yield Text.assemble((f"{first.title} ", "bold"), _text(row.cells[0]), style=row.style)
            for column, cell in zip(others, row.cells[1:], strict=True):
                if _text(cell).plain.strip():
                    unit = f" ({column.unit})" if column.unit else ""
                    line = Text.assemble((f"{column.title}{unit} ", "bold"), _text(cell))
                    yield _indented(line, row.style)
            for detail in row.details:
                yield _indented(_text(detail), row.style)


def _text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell


def _width(cell: str | Text) -> int:
    return max((cell_len(line) for line in _text(cell).plain.splitlines()), default=0)


def _indented(text: Text, style: str) -> Padding:
    return Padding(text, (0, 0, 0, INDENT), style=style, expand=False)
