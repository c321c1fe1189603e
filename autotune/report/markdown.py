"""A report as Markdown, in which the description of a plot replaces it."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.report.blocks import Block, Command, Figure, Heading, Paragraph, Table


def markdown_text(blocks: Sequence[Block]) -> str:
    """The document."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Command(text):
            return f"```\n{text}\n```"
        case Figure(_, description):
            return f"*Plot, in the HTML report: {description}*"
        case Table():
            lines = [table_row(block.head), _rule(block), *map(table_row, block.rows)]
            return "\n".join(lines)


def table_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table, with pipes escaped."""
    content = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {content} |"


def _rule(table: Table) -> str:
    marks = ["---:" if index in table.numbers else "---" for index in range(len(table.head))]
    return "|" + "|".join(marks) + "|"
