"""Study files: :func:`load` turns YAML into a :class:`~autotune.domain.Study`, or reports all
mistakes with their locations."""

from __future__ import annotations

from autotune.spec.budget import DEFAULT_TRIALS
from autotune.spec.compatibility import incompatibilities
from autotune.spec.domains import SkippedSetting
from autotune.spec.explain import Explanation, LeverExplanation, explain
from autotune.spec.load import executor, load
from autotune.spec.model_type import model_type_of, restrict_to_models
from autotune.spec.resolve import ResolvedStudy
from autotune.spec.schema import json_schema
from autotune.spec.starter import starter, study_name

__all__ = [
    "DEFAULT_TRIALS",
    "Explanation",
    "LeverExplanation",
    "ResolvedStudy",
    "SkippedSetting",
    "executor",
    "explain",
    "incompatibilities",
    "json_schema",
    "load",
    "model_type_of",
    "restrict_to_models",
    "starter",
    "study_name",
]
