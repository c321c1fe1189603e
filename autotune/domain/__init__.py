"""The data types that all packages share.

They are immutable and need only the standard library, so that the store, the search, workers and
the dashboard can use them without further dependencies. Names of quantities end with their unit. A
quantity that was not measured is ``None``, never zero.
"""

from __future__ import annotations

from autotune.domain.host import Device, Host, NodeClass, Resources
from autotune.domain.result import (
    BEST_STEP,
    CONCURRENT_TRIALS,
    KILLED_BY,
    PAUSED_AT_STEP,
    Correctness,
    CurvePoint,
    Event,
    Measurement,
    SavedModel,
    TrialResult,
)
from autotune.domain.search_space import Categorical, Dimension, ForbiddenClause, Range, SearchSpace
from autotune.domain.search_status import SearchState, SearchStatus
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
    Retention,
    SamplerConfig,
    Study,
    Task,
)
from autotune.domain.trial import (
    PHASES,
    TRAINING_PHASES,
    Completed,
    Failed,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    Outcome,
    PauseReason,
    Phase,
    Pruned,
    State,
    Teacher,
    Trial,
    TrialOrigin,
    study_phases,
)
from autotune.domain.workload import WorkloadProfile

__all__ = [
    "BEST_STEP",
    "CONCURRENT_TRIALS",
    "KILLED_BY",
    "PAUSED_AT_STEP",
    "PHASES",
    "TRAINING_PHASES",
    "Budget",
    "Categorical",
    "Columns",
    "Completed",
    "Confirmation",
    "Constraint",
    "Correctness",
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
    "PauseReason",
    "Phase",
    "Prices",
    "Pruned",
    "Range",
    "Resources",
    "Retention",
    "SamplerConfig",
    "SavedModel",
    "SearchSpace",
    "SearchState",
    "SearchStatus",
    "State",
    "Strategy",
    "Study",
    "Task",
    "Teacher",
    "Trial",
    "TrialOrigin",
    "TrialResult",
    "Value",
    "WorkloadProfile",
    "digest",
    "study_phases",
]
