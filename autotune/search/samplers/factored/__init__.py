"""The sampler that models speed and accuracy apart and asks for the best gain per second."""

from __future__ import annotations

from autotune.search.samplers.factored.sampler import FactoredSampler

__all__ = ["FactoredSampler"]
