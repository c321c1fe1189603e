"""Levers: the settings that a study can search."""

from __future__ import annotations

from autotune.levers.base import (
    ACCURACY,
    DEPLOYMENT,
    LOOP,
    MEMORY,
    SCRIPT,
    SHAPE,
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
    deployment_key,
    forbidden_clauses,
    has_effect,
    is_deployment_lever,
    phase_levers,
    profile_key,
    register_lever,
    training_key,
)
from autotune.levers.resources import (
    hourly_usd,
    required_resources,
    serving_threads,
    serving_usd,
)

__all__ = [
    "ACCURACY",
    "DEPLOYMENT",
    "FORBIDDEN_CLAUSES",
    "LEVERS",
    "LOOP",
    "MEMORY",
    "SCRIPT",
    "SHAPE",
    "SPEED",
    "TRIAL_LOOP",
    "Influence",
    "Lever",
    "Pattern",
    "Stage",
    "defaults",
    "deployment_key",
    "forbidden_clauses",
    "has_effect",
    "hourly_usd",
    "is_deployment_lever",
    "phase_levers",
    "profile_key",
    "register_lever",
    "required_resources",
    "serving_threads",
    "serving_usd",
    "training_key",
]
