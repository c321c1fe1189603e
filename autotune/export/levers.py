"""Where each lever of a strategy is set in an export format, from the records of the levers.

A lever that a format does not mention, or does not support at the value in question, stops the
export unless the user allows a partial one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from autotune.domain import Strategy, Value
from autotune.errors import UsageError
from autotune.export import vendoring
from autotune.levers import LEVERS, LOOP, SCRIPT, TRIAL_LOOP, Lever

UnsupportedLevers = Callable[[Strategy], Mapping[str, str]]
"""Reasons by lever why a format cannot express this strategy."""

TRAINER_GROUPS = (SCRIPT,)
"""Groups of :attr:`~autotune.levers.Lever.exports` for a trainer with a loop of its own."""

LOOP_GROUPS = (LOOP, SCRIPT)
"""The same for a trainer that leaves the training loop to the script."""

TRIAL_LOOP_GROUPS = (TRIAL_LOOP, LOOP, SCRIPT)
"""The same for formats that run the training loop of the trial."""


NEEDS_TEACHER = ("distillation", "distillation_temperature")
"""Levers that no script sets: they train with the logits of a model that is not in the folder."""

PLACEHOLDER = re.compile(r"\{([\w.]+)\}")


def supports_all(strategy: Strategy) -> Mapping[str, str]:
    """For formats that support every strategy."""
    return {}


def lever_locations(name: str, groups: Collection[str]) -> Mapping[str, str]:
    """The place where the format ``name`` sets each lever that it supports, by lever.

    The entry for the format itself has precedence over those of ``groups``.
    """
    locations = {}
    for lever in LEVERS.values():
        text = next((lever.exports[key] for key in (name, *groups) if key in lever.exports), None)
        location = None if text is None else _location(text, lever)
        if location is not None:
            locations[lever.name] = location
    return locations


def _location(text: str, lever: Lever) -> str | None:
    """``text`` with the vendored file of each ``{module}``; ``None`` if one is not vendored."""
    effect = str(lever.effect).partition(":")[0]
    modules = {name: effect if name == "effect" else name for name in PLACEHOLDER.findall(text)}
    paths = {name: vendoring.vendored_path(module) for name, module in modules.items()}
    if None in paths.values():
        return None
    return PLACEHOLDER.sub(lambda match: str(paths[match[1]]), text)


def unsupported_levers(
    name: str,
    strategy: Strategy,
    locations: Mapping[str, str],
    unsupported: UnsupportedLevers,
    allowed: bool,
) -> Mapping[str, str]:
    """The levers that the format ``name`` cannot express, with the reason for each.

    Raises :class:`~autotune.errors.UsageError` if there are any, unless ``allowed``.
    """
    unknown = {
        lever: "the teacher is not part of a script"
        if lever in NEEDS_TEACHER
        else f"the format {name} does not set this lever"
        for lever, value in strategy.values.items()
        if lever not in locations and not _is_neutral(lever, value)
    }
    reasons = {**unknown, **unsupported(strategy)}
    if reasons and not allowed:
        lines = "\n".join(
            f"  {lever} = {strategy.get(lever, '?')}: {reason}" for lever, reason in reasons.items()
        )
        other = "the trained model: --to model" if "distillation" in reasons else "another format"
        raise UsageError(
            f"{name} cannot express all of this strategy:\n{lines}",
            hint=f"choose {other}, or export without them: --allow-partial",
        )
    return reasons


def _is_neutral(name: str, value: Value) -> bool:
    lever = LEVERS.get(name)
    return lever is not None and lever.is_neutral(value)
