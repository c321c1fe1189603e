"""Levers: the settings that a study can search."""

from __future__ import annotations

from autotune.levers.base import (
    ACCURACY,
    LOOP,
    MEMORY,
    SCRIPT,
    SPEED,
    TRIAL_LOOP,
    Influence,
    Lever,
    Pattern,
    Stage,
)
from autotune.levers.registry import (
    FORBIDDEN_CLAUSES,
    LEVERS,
    defaults,
    forbidden_clauses,
    has_effect,
    phase_levers,
    profile_key,
    register_lever,
    training_key,
)
from autotune.levers.resources import hourly_usd, required_resources

__all__ = [
    "ACCURACY",
    "FORBIDDEN_CLAUSES",
    "LEVERS",
    "LOOP",
    "MEMORY",
    "SCRIPT",
    "SPEED",
    "TRIAL_LOOP",
    "Influence",
    "Lever",
    "Pattern",
    "Stage",
    "defaults",
    "forbidden_clauses",
    "has_effect",
    "hourly_usd",
    "phase_levers",
    "profile_key",
    "register_lever",
    "required_resources",
    "training_key",
]
