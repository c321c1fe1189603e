"""The frozen vocabulary of autotune: what every room talks about, and nothing else.

Everything here is immutable and depends on the standard library alone, so that the store, the
search, a worker on a bare GPU box and the dashboard can share it without sharing anything heavier.
Quantities carry their unit in the name; what was not measured is ``None``, never zero.
"""

from __future__ import annotations

from autotune.domain.host import Device, Host, NodeClass, Resources
from autotune.domain.result import CONCURRENT_TRIALS, CurvePoint, Event, Measurement, TrialResult
from autotune.domain.search_space import Categorical, Dimension, ForbiddenClause, Range, SearchSpace
from autotune.domain.strategy import Strategy, Value, digest
from autotune.domain.study import (
    Budget,
    Columns,
    Confirmation,
    Constraint,
    Direction,
    ExecutorConfig,
    Limits,
    Objective,
    Prices,
    SamplerChoice,
    Study,
    Task,
)
from autotune.domain.trial import (
    PHASES,
    Completed,
    Failed,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    Outcome,
    Phase,
    Pruned,
    State,
    Trial,
    TrialOrigin,
)
from autotune.domain.workload import WorkloadProfile

__all__ = [
    "CONCURRENT_TRIALS",
    "PHASES",
    "Budget",
    "Categorical",
    "Columns",
    "Completed",
    "Confirmation",
    "Constraint",
    "CurvePoint",
    "Device",
    "Dimension",
    "Direction",
    "Event",
    "ExecutorConfig",
    "Failed",
    "FailureReason",
    "ForbiddenClause",
    "Host",
    "Infeasible",
    "Interrupted",
    "Job",
    "Limits",
    "Measurement",
    "NodeClass",
    "Objective",
    "Outcome",
    "Phase",
    "Prices",
    "Pruned",
    "Range",
    "Resources",
    "SamplerChoice",
    "SearchSpace",
    "State",
    "Strategy",
    "Study",
    "Task",
    "Trial",
    "TrialOrigin",
    "TrialResult",
    "Value",
    "WorkloadProfile",
    "digest",
]
