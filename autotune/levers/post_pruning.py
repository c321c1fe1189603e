"""The lever that prunes trained models, for their deployment."""

from __future__ import annotations

from autotune.domain import Range
from autotune.levers.base import DEPLOYMENT, Lever
from autotune.levers.deployment import EXPORTS

POST_PRUNING_RATIO = Lever(
    name="post_pruning_ratio",
    summary="Share of the time of the encoder's layers that is pruned from the trained model",
    domain=Range(0.0, 0.9),
    default=0.0,
    influences=frozenset({DEPLOYMENT}),
    auto=lambda host: Range(0.0, 0.6, step=0.2),
    effect="autotune.trial.post_pruning:pruned_model",
    exports=EXPORTS,
)
