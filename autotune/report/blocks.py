"""The blocks of a report, independent of its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True)
class Heading:
    """A heading. ``level`` 1 is the title of the report."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Command:
    """A command to run next."""

    text: str


@dataclass(frozen=True)
class Table:
    """``rows`` are as wide as ``head``. ``numbers`` are the indices of columns with numbers. A
    ``folded`` table is collapsed at first."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot and its description, for readers who cannot see it."""

    figure: go.Figure
    description: str


Block = Heading | Paragraph | Command | Table | Figure
