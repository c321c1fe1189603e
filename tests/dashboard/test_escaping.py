"""Text from users and libraries is escaped."""

from __future__ import annotations

from autotune.report.style import one_line_label, wrapped_label
from dashboard.text import escape_markdown

MARKUP = '<img src=x onerror="alert(1)"> **bold** [x](javascript:1)'


def test_text_is_escaped() -> None:
    assert "<" not in wrapped_label(MARKUP).replace("<br>", "") and "<" not in one_line_label(
        MARKUP
    )
    assert (
        "\\<img" in escape_markdown(MARKUP)
        and "\\*\\*bold" in escape_markdown(MARKUP)
        and "\\[x\\]" in escape_markdown(MARKUP)
    )
    assert wrapped_label("a" * 130).count("<br>") == 2
