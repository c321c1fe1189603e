"""Where a search begins and ends: ``warm_start``, budgets, ``stop_when``, and what is confirmed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from autotune.domain import Budget, Confirmation, Prices
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
        document.add_error(("warm_start",), message)
    return file.warm_start


def _without_gain(file: StudyFile, document: Document) -> int | None:
    if file.stop_when is None:
        return None
    sentence = _WITHOUT_GAIN.fullmatch(file.stop_when)
    if sentence is None:
        wanted = "expected 'no hypervolume gain in N trials' with a number of 1 or more"
        document.add_error(("stop_when",), f"{wanted}, found '{file.stop_when}'")
        return None
    return int(sentence[1])


CPU_CORE_USD = 0.04

GPU_USD: Mapping[str, float] = {
    "B300": 7.50,
    "B200": 6.00,
    "H200": 3.80,
    "H100": 2.95,
    "A100": 1.80,
    "L40S": 1.25,
    "A10": 0.75,
    "L4": 0.70,
    "T4": 0.40,
    "V100": 0.60,
    "P100": 0.40,
    "RTX 6000": 0.80,
    "RTX A6000": 0.50,
    "RTX 5090": 0.70,
    "RTX 4090": 0.45,
    "RTX 3090": 0.30,
    "RTX": 0.20,
    "GTX": 0.10,
    "Apple": 0.15,
}
"""By a part of the device's name; where several fit, the longest counts."""


NO_NODES: Mapping[str, float] = {}


def price_table(
    cpu_core: float | None, gpus: Mapping[str, float], nodes: Mapping[str, float] = NO_NODES
) -> Prices:
    """The default prices with the user's own over them; names are compared without case."""
    own = {name.lower() for name in gpus}
    kept = {name: usd for name, usd in GPU_USD.items() if name.lower() not in own}
    return Prices(CPU_CORE_USD if cpu_core is None else cpu_core, {**kept, **gpus}, nodes)
