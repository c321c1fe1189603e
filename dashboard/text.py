"""Text for Streamlit. Names, reasons and logs come from users and libraries, so it is escaped."""

from __future__ import annotations

import re

from autotune.analysis.replicates import Replicates
from autotune.analysis.text import format_interval, format_metric
from autotune.domain import Trial

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def escape_markdown(text: object) -> str:
    """``text`` for elements that Streamlit reads as Markdown."""
    return _MARKDOWN.sub(r"\\\1", str(text)).replace("\n", " ")


def capitalized(text: str) -> str:
    """``text`` with a capital first letter; names such as MCC stay as they are."""
    return text[:1].upper() + text[1:]


def test_score(replicates: Replicates, trial: Trial, metric: str) -> str | None:
    """A score of the confirmation runs of ``trial``: ``77.9% (75.0% to 80.1%)``; ``None`` if the
    strategy is not confirmed, or ``metric`` is no score."""
    estimate = replicates.test_estimate(trial, metric)
    if estimate is None:
        return None
    interval = format_interval(metric, estimate.ci95)
    return format_metric(metric, estimate.value) + (f" ({interval})" if interval else "")
