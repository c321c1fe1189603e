"""The frozen vocabulary of autotune: what every room talks about, and nothing else.

Everything here is immutable and depends on the standard library alone, so that the store, the
search, a worker on a bare GPU box and the dashboard can share it without sharing anything heavier.
Quantities carry their unit in the name; what was not measured is ``None``, never zero.
"""

from __future__ import annotations

from autotune.domain.host import Device, Host, NodeClass, Resources
from autotune.domain.result import BESIDE, CurvePoint, Event, Evidence, Measurement
from autotune.domain.search_space import Choice, Dimension, Range, Rule, Space
from autotune.domain.strategy import Strategy, Value, digest
from autotune.domain.study import (
    Budget,
    Columns,
    Confirmation,
    Constraint,
    Direction,
    ExecutorChoice,
    Limits,
    Objective,
    Prices,
    SamplerChoice,
    Study,
    Task,
)
from autotune.domain.trial import (
    PARTS,
    STATE_OF,
    Completed,
    Failed,
    Infeasible,
    Interrupted,
    Job,
    Outcome,
    Part,
    Pruned,
    State,
    Trial,
)
from autotune.domain.workload import Anatomy

__all__ = [
    "BESIDE",
    "PARTS",
    "STATE_OF",
    "Anatomy",
    "Budget",
    "Choice",
    "Columns",
    "Completed",
    "Confirmation",
    "Constraint",
    "CurvePoint",
    "Device",
    "Dimension",
    "Direction",
    "Event",
    "Evidence",
    "ExecutorChoice",
    "Failed",
    "Host",
    "Infeasible",
    "Interrupted",
    "Job",
    "Limits",
    "Measurement",
    "NodeClass",
    "Objective",
    "Outcome",
    "Part",
    "Prices",
    "Pruned",
    "Range",
    "Resources",
    "Rule",
    "SamplerChoice",
    "Space",
    "State",
    "Strategy",
    "Study",
    "Task",
    "Trial",
    "Value",
    "digest",
]
