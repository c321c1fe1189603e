"""Creates the sampler that a study names. The names are records of :mod:`autotune.components`."""

from __future__ import annotations

from autotune.components import SAMPLERS
from autotune.domain import Study, WorkloadProfile
from autotune.domain.registry import import_object
from autotune.ports import Sampler
from autotune.tuner.samplers.distillation import DistillationSampler
from autotune.tuner.samplers.probes import ProbeSampler
from autotune.tuner.samplers.recipes import RecipeSampler


def make_sampler(study: Study, workload: WorkloadProfile | None = None) -> Sampler:
    """The sampler of ``study``. Without a ``workload``, samplers that model speed have no prior
    mean of it."""
    if study.has_own_teacher:
        return DistillationSampler(study, lambda part: _make(part, workload))
    return _make(study, workload)


def _make(study: Study, workload: WorkloadProfile | None) -> Sampler:
    sampler_type = SAMPLERS.find(study.sampler.kind)
    sampler: Sampler = import_object(sampler_type.factory)(study, workload)
    if study.sampler.recipes and sampler_type.learns:
        return ProbeSampler(study, RecipeSampler(study, sampler, workload))
    return sampler


def make_factored(study: Study, workload: WorkloadProfile | None) -> Sampler:
    from autotune.tuner.samplers.factored.sampler import FactoredSampler

    return FactoredSampler(study, workload)


def make_optuna(study: Study, workload: WorkloadProfile | None) -> Sampler:
    from autotune.tuner.samplers.optuna import OptunaSampler

    return OptunaSampler(study, study.sampler.kind)


def make_grid(study: Study, workload: WorkloadProfile | None) -> Sampler:
    from autotune.tuner.samplers.grid import GridSampler

    return GridSampler(study)


def make_qmc(study: Study, workload: WorkloadProfile | None) -> Sampler:
    from autotune.tuner.samplers.qmc import QmcSampler

    return QmcSampler(study)
