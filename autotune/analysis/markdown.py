"""Names and values as Markdown that shows exactly them. Names come from users, model folders and
data, and must not become links, images or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from autotune.domain.text import one_line

_INLINE = re.compile(r"[\\`*\[\]<>|&~$]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK_START = re.compile(r"^(#+|[-+=]+|\d+(?=[.)]))")
_SCHEME = re.compile(r"(?i)\b(https?|ftp|www)(:|\.)")


def escape(text: object) -> str:
    """``text`` as plain text within a line."""
    escaped = _INLINE.sub(r"\\\g<0>", one_line(text).strip())
    return _SCHEME.sub(r"\1\\\2", escaped)  # addresses become links without any markup


def paragraph(text: object) -> str:
    """``text`` as a paragraph of plain text: no heading, list or rule."""
    escaped = escape(text)
    start = _BLOCK_START.match(escaped)
    if start is None:
        return escaped
    position = start.end() if start[0][0].isdigit() else 0
    return f"{escaped[:position]}\\{escaped[position:]}"


def code(text: object) -> str:
    """``text`` as a code span, also in a table."""
    line = one_line(text)
    fence = "`" * (_longest_run(line) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{padding}{line}{padding}{fence}".replace("|", "\\|")


def code_block(text: str) -> str:
    """``text`` as a block of code."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells in Markdown."""
    return "\n".join(table_row(cells) for cells in (head, ["---"] * len(head), *rows))


def table_row(cells: Sequence[str]) -> str:
    """A row of a table of cells in Markdown."""
    return f"| {' | '.join(cells)} |"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
