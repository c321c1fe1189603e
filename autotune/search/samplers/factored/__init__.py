"""The default sampler: a Gaussian process per phase and expected hypervolume improvement."""

from __future__ import annotations

from autotune.search.samplers.factored.sampler import FactoredSampler

__all__ = ["FactoredSampler"]
