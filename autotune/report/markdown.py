"""A report as Markdown, in which the description of a plot replaces it."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.report.blocks import Block, Command, Figure, Heading, Paragraph, Table


def markdown_text(blocks: Sequence[Block]) -> str:
    """The whole document."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(words, level):
            return f"{'#' * level} {words}"
        case Paragraph(words):
            return words
        case Command(words):
            return f"```\n{words}\n```"
        case Figure(_, words):
            return f"*Plot, in the HTML report: {words}*"
        case Table():
            lines = [table_row(block.head), _rule(block), *map(table_row, block.rows)]
            return "\n".join(lines)


def table_row(cells: Sequence[str]) -> str:
    inside = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {inside} |"


def _rule(table: Table) -> str:
    marks = ["---:" if index in table.numbers else "---" for index in range(len(table.head))]
    return "|" + "|".join(marks) + "|"
