"""Names, reasons and logs come from users and libraries: shown as they are, never interpreted."""

from __future__ import annotations

import html
import re
import textwrap

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def md(text: object) -> str:
    """``text`` for a place where Streamlit reads Markdown."""
    return _MARKDOWN.sub(r"\\\1", str(text)).replace("\n", " ")


def hover(text: object, width: int = 60) -> str:
    """``text`` for a Plotly label or hover, which read a few HTML tags; lines are wrapped."""
    lines = textwrap.wrap(str(text), width, break_long_words=width > 30) or [""]
    return "<br>".join(html.escape(line) for line in lines)


def plain(text: object) -> str:
    """``text`` for a Plotly title or legend: one line, no tags."""
    return html.escape(" ".join(str(text).split()))
