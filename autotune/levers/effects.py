"""The effects of plug-in levers on the model, looked up by the trial's model set-up.

This module does not import the registry: an exported script contains it without the records of all
levers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from autotune.domain import Strategy
from autotune.domain.registry import import_object
from autotune.errors import UsageError
from autotune.levers.base import Lever, Stage

Effect = Callable[[Any, Strategy, Any], None]
"""``effect(model, strategy, context)`` changes the model in place."""

MODEL_LEVERS: dict[str, Lever] = {}
"""Registered levers that have a stage, by name, in order of registration."""


def model_effects(strategy: Strategy, stage: Stage) -> Iterator[Effect]:
    """The hooks to call at the end of ``stage``, in order of registration."""
    for name, lever in MODEL_LEVERS.items():
        if lever.stage == stage and name in strategy and not lever.is_neutral(strategy[name]):
            yield load_effect(lever)


def load_effect(lever: Lever) -> Effect:
    """The function ``lever.effect``, or the one at this dotted path.

    Raises :class:`~autotune.errors.UsageError` if there is no such module or function.
    """
    try:
        effect: Effect = import_object(lever.effect)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"lever {lever.name}: cannot load its effect {lever.effect!r} ({error})",
            hint='write effect=f"{__name__}:FUNCTION" with a function of the lever\'s own file',
        ) from error
    return effect
