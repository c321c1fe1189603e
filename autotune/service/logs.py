"""Logs as one JSON object a line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TextIO

EXTRA = "fields"
"""The key of ``extra`` for further keys of a record."""


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message"}``, the keys of ``extra={"fields": {...}}``, and the
    traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, EXTRA, {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def write_json_logs(stream: TextIO, level: int = logging.INFO) -> None:
    """Write all logs of this process to ``stream`` as JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("autotune").setLevel(level)
