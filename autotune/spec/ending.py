"""Where a search begins and ends: ``warm_start``, budgets, ``stop_when``, and what is confirmed."""

from __future__ import annotations

import re

from autotune.domain import Budget, Confirmation
from autotune.spec.document import Document
from autotune.spec.models import StudyFile

DEFAULT_TRIALS = 24
"""Trials of a study that sets no budget."""

_WITHOUT_GAIN = re.compile(r"\s*no hypervolume gain in ([1-9]\d{0,8}) trials?\s*")


def budget(file: StudyFile, document: Document) -> Budget:
    """Whatever ends the search, :data:`DEFAULT_TRIALS` where nothing is said."""
    found = Budget(
        file.budget.trials, file.budget.minutes, file.budget.usd, _without_gain(file, document)
    )
    return found if found != Budget() else Budget(trials=DEFAULT_TRIALS)


def confirmation(file: StudyFile) -> Confirmation | None:
    """How the front is confirmed."""
    asked = file.confirm
    return None if asked is None else Confirmation(asked.top, asked.seeds)


def warm_start(file: StudyFile, document: Document) -> str | None:
    """The study to begin with the trials of, another one than this."""
    if file.warm_start == file.study:
        message = "a study cannot begin with its own trials; it goes on from them by itself"
        document.blame(("warm_start",), message)
    return file.warm_start


def _without_gain(file: StudyFile, document: Document) -> int | None:
    if file.stop_when is None:
        return None
    sentence = _WITHOUT_GAIN.fullmatch(file.stop_when)
    if sentence is None:
        wanted = "expected 'no hypervolume gain in N trials' with a number of 1 or more"
        document.blame(("stop_when",), f"{wanted}, found '{file.stop_when}'")
        return None
    return int(sentence[1])
