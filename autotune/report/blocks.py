"""What a report is made of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True)
class Heading:
    """A title; ``level`` 1 is the report's own."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Command:
    """What to type next."""

    text: str


@dataclass(frozen=True)
class Table:
    """``rows`` are as wide as ``head``; ``numbers`` are the columns that are aligned as such."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot, and in words what it shows for whoever cannot see it."""

    figure: go.Figure
    words: str


Block = Heading | Paragraph | Command | Table | Figure
