"""Resolves ``sampler.priors``: the accuracy that settings are expected to lose."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from autotune.domain import Phase, Value
from autotune.domain.text import suggest
from autotune.levers import LEVERS, Lever, phase_levers
from autotune.spec.document import Document
from autotune.spec.domains import coerce, illegal_value_message
from autotune.spec.models import StudyFile

MAX_POINTS = 80.0
"""More is no expectation of a strategy that learns anything."""


def resolve_priors(
    file: StudyFile, document: Document
) -> dict[str, tuple[tuple[Value, float], ...]]:
    """Points lost by lever and setting. Mistakes are recorded in ``document``."""
    priors = {}
    for name, losses in file.sampler.priors.items():
        path = ("sampler", "priors", name)
        if name not in LEVERS:
            message = f"unknown lever '{name}'; {suggest(name, LEVERS)}"
            document.add_error(path, message, key=True)
        elif name not in phase_levers(Phase.TRAIN):
            message = f"{name} has no influence on accuracy; priors are about accuracy"
            document.add_error(path, message, key=True)
        else:
            priors[name] = _losses(name, losses, document)
    return priors


def _losses(
    name: str, losses: Mapping[str, float], document: Document
) -> tuple[tuple[Value, float], ...]:
    resolved: dict[Value, float] = {}
    for setting, points in losses.items():
        value = _parse(LEVERS[name], setting)
        path = ("sampler", "priors", name)
        if value is None:
            document.add_error(path, illegal_value_message(LEVERS[name], setting))
        elif abs(points) > MAX_POINTS:
            message = f"{points:g} points; write what is lost in points of accuracy, such as 2"
            document.add_error(path, message)
        else:
            resolved[value] = points
    return tuple(resolved.items())


def _parse(lever: Lever, text: str) -> Value | None:
    """The setting that the key ``text`` stands for; ``None`` if it is not legal."""
    words: dict[str, Value] = {"true": True, "false": False}
    value: Value = words.get(text, text)
    with suppress(ValueError):
        value = float(text)
    return coerce(lever, value) if coerce(lever, text) is None else text
