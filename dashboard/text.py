"""Text for Streamlit. Names, reasons and logs come from users and libraries, so it is escaped."""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def escape_markdown(text: object) -> str:
    """``text`` for elements that Streamlit reads as Markdown."""
    return _MARKDOWN.sub(r"\\\1", str(text)).replace("\n", " ")
