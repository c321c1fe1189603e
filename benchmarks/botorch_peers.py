"""BoTorch as a peer: noisy expected hypervolume improvement with constraints on its outcomes.

The candidates are all strategies of the grid that it has not evaluated, so its acquisition
function is maximized exactly. Objectives are in the units of the scored hypervolume, whose
reference point it gets.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.sampling import SobolQMCNormalSampler
from gpytorch.mlls import SumMarginalLogLikelihood
from peers import Settings, Space
from torch import Tensor

NUM_INITIAL = 8
"""Random strategies before the first model."""

NUM_SAMPLES = 64
"""Posterior samples of the acquisition function."""


class QLogNehvi:
    """``qLogNoisyExpectedHypervolumeImprovement`` over one Gaussian process for each metric."""

    def __init__(self, space: Space, seed: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        warnings.simplefilter("ignore")
        self._space = space
        self._candidates: Sequence[Settings] = [
            dict(zip(space.levers, values, strict=True))
            for values in itertools.product(*space.levers.values())
        ]
        self._points = torch.stack([encode(space, settings) for settings in self._candidates])
        self._outcomes: dict[int, list[float]] = {}
        self._initial = torch.randperm(len(self._candidates))[:NUM_INITIAL].tolist()

    def ask(self) -> tuple[int, Settings]:
        index = self._initial.pop() if self._initial else self._best_candidate()
        return index, self._candidates[index]

    def tell(self, handle: int, values: Mapping[str, float]) -> None:
        """Store the scaled objectives and the violations, both as outcomes to model."""
        objectives = [
            (sign * values[metric] - reference) / unit
            for (metric, sign), (reference, unit) in zip(
                self._space.signs.items(), self._space.frames, strict=True
            )
        ]
        self._outcomes[handle] = [*objectives, *self._space.violations(values)]

    def should_stop(self, handle: Any, index: int, values: Mapping[str, float]) -> bool:
        return False

    def _best_candidate(self) -> int:
        """The strategy with the highest expected improvement among those not evaluated."""
        rest = [i for i in range(len(self._candidates)) if i not in self._outcomes]
        if not rest:
            return next(iter(self._outcomes))
        evaluated = self._points[list(self._outcomes)]
        outcomes = torch.tensor(list(self._outcomes.values()), dtype=torch.double)
        objectives = len(self._space.signs)
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            fit(evaluated, outcomes),
            torch.zeros(objectives, dtype=torch.double),
            evaluated,
            sampler=SobolQMCNormalSampler(torch.Size([NUM_SAMPLES])),
            objective=IdentityMCMultiOutputObjective(outcomes=list(range(objectives))),
            constraints=[
                lambda samples, i=i: samples[..., i] for i in range(objectives, outcomes.shape[1])
            ]
            or None,
            prune_baseline=True,
        )
        with torch.no_grad():
            values = acquisition(self._points[rest].unsqueeze(1))
        return rest[int(values.argmax())]


def encode(space: Space, settings: Settings) -> Tensor:
    """A strategy as numbers from 0 to 1: the position of an ordered value, one-hot for others."""
    coordinates: list[float] = []
    for lever, values in space.levers.items():
        position = values.index(settings[lever])
        if space.is_ordered(lever) or len(values) == 2:
            coordinates.append(position / (len(values) - 1))
        else:
            coordinates += [float(position == i) for i in range(len(values))]
    return torch.tensor(coordinates, dtype=torch.double)


def fit(points: Tensor, outcomes: Tensor) -> ModelListGP:
    """A Gaussian process for each column of ``outcomes``, with its noise and scale fitted."""
    model = ModelListGP(*(SingleTaskGP(points, column) for column in outcomes.split(1, dim=1)))
    fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
    return model
