"""The errors that an answer of the service stands for."""

from __future__ import annotations

from typing import Any

import httpx

from autotune.errors import (
    AutotuneError,
    Mistake,
    NotFoundError,
    SpecError,
    StoreUnavailableError,
    UsageError,
)

ACCESS_HINT = "set AUTOTUNE_TOKEN to a token of the service: autotune token create NAME"


def error_of(answer: httpx.Response, file: str) -> AutotuneError:
    """The error of an answer that is no success. ``file`` is the name of the study file in its
    mistakes."""
    document = _document(answer)
    message = str(document.get("error") or f"the service answered with {answer.status_code}")
    hint = document.get("hint")
    mistakes = document.get("mistakes") or ()
    if mistakes:
        entries = [
            Mistake(m.get("file") or file, m["line"], m["column"], m["message"]) for m in mistakes
        ]
        return SpecError(entries, hint=hint)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return UsageError(message, hint=ACCESS_HINT)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return NotFoundError(message, hint=hint)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return StoreUnavailableError(message, hint=hint)
    return UsageError(message, hint=hint)


def unreachable(url: str, error: Exception) -> AutotuneError:
    """The error for a service that does not answer."""
    return AutotuneError(
        f"the service at {url} cannot be reached: {error}",
        hint="check the address, and that autotune serve runs there",
    )


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
