"""The default sampler: a Gaussian process per phase and expected hypervolume improvement."""

from __future__ import annotations

from autotune.tuner.samplers.factored.sampler import FactoredSampler

__all__ = ["FactoredSampler"]
