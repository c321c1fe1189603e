"""The sections ``budget``, ``stop_when``, ``confirm``, ``warm_start`` and ``prices``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from autotune.domain import Budget, Confirmation, Prices
from autotune.spec.document import Document
from autotune.spec.models import PricesSpec, StudyFile

DEFAULT_TRIALS = 24
"""Trials of a study without a budget."""

_STOP_WHEN = re.compile(r"\s*no hypervolume gain in ([1-9]\d{0,8}) trials?\s*")

CPU_CORE_USD = 0.04
"""US dollars per hour."""

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
"""US dollars per hour by a part of the device's name; the longest match counts."""


def resolve_budget(file: StudyFile, document: Document) -> Budget:
    """The limits that the file sets, or :data:`DEFAULT_TRIALS` trials if it sets none."""
    limits = file.budget
    budget = Budget(limits.trials, limits.minutes, limits.usd, _patience(file, document))
    return budget if budget != Budget() else Budget(trials=DEFAULT_TRIALS)


def resolve_confirmation(file: StudyFile) -> Confirmation | None:
    """The confirmation of the file. A goal has one answer to confirm."""
    if file.goal is not None:
        return Confirmation(1, file.goal.seeds)
    return None if file.confirm is None else Confirmation(file.confirm.top, file.confirm.seeds)


def resolve_warm_start(file: StudyFile, document: Document) -> str | None:
    """The name of the study to start from, which must be another one."""
    if file.warm_start == file.study:
        message = "a study cannot begin with its own trials; remove warm_start to continue it"
        document.add_error(("warm_start",), message)
    return file.warm_start


def _patience(file: StudyFile, document: Document) -> int | None:
    if file.stop_when is None:
        return None
    match = _STOP_WHEN.fullmatch(file.stop_when)
    if match is None:
        expected = "expected 'no hypervolume gain in N trials' with a number of 1 or more"
        document.add_error(("stop_when",), f"{expected}, found '{file.stop_when}'")
        return None
    return int(match[1])


def price_table(spec: PricesSpec) -> Prices:
    """The default prices, overridden by those of the file. GPU names ignore case."""
    overridden = {name.lower() for name in spec.gpus}
    gpus = {name: usd for name, usd in GPU_USD.items() if name.lower() not in overridden}
    cpu_core = CPU_CORE_USD if spec.cpu_core is None else spec.cpu_core
    return Prices(cpu_core, {**gpus, **spec.gpus}, spec.nodes)
