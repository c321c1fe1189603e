"""Whether a study deploys its models, and the section ``keep``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from autotune.domain import Constraint, Objective, Phase, Retention
from autotune.domain.metrics import get_metric
from autotune.levers import is_deployment_lever
from autotune.spec.distillation import needs_own_teacher
from autotune.spec.models import StudyFile


def has_deployment(
    file: StudyFile, objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> bool:
    """Whether an objective, a constraint or a lever of the file is one of the deployed model."""
    metrics = [*(o.metric for o in objectives), *(c.metric for c in constraints)]
    levers = chain(file.space, file.baseline, *file.start_with)
    is_measured = any(get_metric(metric).phase is Phase.DEPLOY for metric in metrics)
    return is_measured or any(map(is_deployment_lever, levers))


def resolve_keep(file: StudyFile, *, deploys: bool) -> Retention:
    """Which models are kept: those of the front if models are deployed, or are teachers of others,
    unless the file says."""
    is_needed = deploys or needs_own_teacher(file)
    return Retention(file.keep.models or ("front" if is_needed else "none"), file.keep.gigabytes)
