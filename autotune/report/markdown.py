"""A report as Markdown, in which the description of a plot replaces it."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.analysis import markdown
from autotune.report.blocks import Block, Command, Figure, Heading, Paragraph, Table


def markdown_text(blocks: Sequence[Block]) -> str:
    """The document."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {markdown.escape(text)}"
        case Paragraph(text):
            return markdown.paragraph(text)
        case Command(text):
            return markdown.code_block(text)
        case Figure(_, description):
            return f"*Plot, in the HTML report: {markdown.escape(description)}*"
        case Table():
            head, *rows = ([*map(markdown.escape, row)] for row in (block.head, *block.rows))
            lines = [markdown.table_row(head), _rule(block), *map(markdown.table_row, rows)]
            return "\n".join(lines)


def _rule(table: Table) -> str:
    marks = ["---:" if index in table.numbers else "---" for index in range(len(table.head))]
    return "|" + "|".join(marks) + "|"
