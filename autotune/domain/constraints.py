"""Whether a trial satisfies the constraints of its study, and by how much it violates them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from autotune.domain import Constraint, Study, Trial

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def constraint_bound(constraint: Constraint, baseline: Trial | None) -> float | None:
    """The bound in the unit of the metric; ``None`` if it is relative to an unmeasured default."""
    if not constraint.relative:
        return constraint.bound
    reference = baseline.metric(constraint.metric) if baseline is not None else None
    return None if reference is None else reference + constraint.bound


def is_satisfied(constraint: Constraint, values: Any, bound: Any) -> Any:
    """Whether ``values`` satisfy ``constraint`` with this ``bound``; element by element for
    arrays."""
    return _COMPARE[constraint.operator](values, bound)


def violation_ratios(study: Study, trial: Trial, baseline: Trial | None) -> dict[str, float]:
    """How far the trial exceeds each bound, as a share of the bound, by constraint: positive where
    violated, negative where satisfied. Constraints that cannot be evaluated are left out."""
    ratios: dict[str, float] = {}
    for constraint in study.constraints:
        limit, value = constraint_bound(constraint, baseline), trial.metric(constraint.metric)
        if limit is None or value is None:
            continue
        excess = limit - value if constraint.operator in (">=", ">") else value - limit
        margin = 1e-12 if constraint.operator in (">", "<") else 0.0
        ratios[str(constraint)] = (excess + margin) / max(abs(limit), 1e-12)
    return ratios
