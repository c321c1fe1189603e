"""Whether a trial keeps the study's constraints, and by how much it does not."""

from __future__ import annotations

from autotune.domain import Constraint, Study, Trial


def bound(constraint: Constraint, baseline: Trial | None) -> float | None:
    """The number to hold; ``None`` while the baseline it is relative to is unknown."""
    if not constraint.relative:
        return constraint.bound
    reference = baseline.metric(constraint.metric) if baseline is not None else None
    return None if reference is None else reference + constraint.bound


def violations(study: Study, trial: Trial, baseline: Trial | None) -> dict[str, float]:
    """For each constraint that can be judged, how far past its bound the trial is, as a share of
    the bound: positive where broken, negative where held with room to spare."""
    shares: dict[str, float] = {}
    for constraint in study.constraints:
        limit, value = bound(constraint, baseline), trial.metric(constraint.metric)
        if limit is None or value is None:
            continue
        excess = limit - value if constraint.operator in (">=", ">") else value - limit
        strict = 1e-12 if constraint.operator in (">", "<") else 0.0
        shares[str(constraint)] = (excess + strict) / max(abs(limit), 1e-12)
    return shares
