"""How a trained model is deployed: its runtime, the type of its numbers, batches and threads."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.domain import Strategy
from autotune.domain.runtimes import RUNTIMES
from autotune.errors import Unsupported


@dataclass(frozen=True)
class DeploymentSettings:
    """The settings of the deployment levers (``autotune/levers/deployment.py``).
    ``inference_threads`` is ``None`` for all cores of the process. Raises
    :class:`~autotune.errors.Unsupported` for a quantization that the runtime cannot run."""

    runtime: str = "torch"
    quantization: str = "none"
    inference_batch_size: int = 32
    inference_threads: int | None = None
    inference_padding: str = "dynamic"
    quantization_granularity: str = "channel"
    quantization_operators: str = "all"

    def __post_init__(self) -> None:
        able = RUNTIMES[self.runtime].quantizations
        if self.quantization not in able:
            raise Unsupported(
                f"{self.runtime} cannot run {self.quantization}: it can run {', '.join(able)}"
            )

    @classmethod
    def from_strategy(cls, strategy: Strategy) -> DeploymentSettings:
        """The settings of ``strategy``; a lever that it does not have has its default here.
        ``inference_threads: 0`` stands for all cores."""
        default = cls()
        return cls(
            runtime=str(strategy.get("runtime", default.runtime)),
            quantization=str(strategy.get("quantization", default.quantization)),
            inference_batch_size=int(
                strategy.get("inference_batch_size", default.inference_batch_size)
            ),
            inference_threads=int(strategy.get("inference_threads", 0)) or None,
            inference_padding=str(strategy.get("inference_padding", default.inference_padding)),
            quantization_granularity=str(
                strategy.get("quantization_granularity", default.quantization_granularity)
            ),
            quantization_operators=str(
                strategy.get("quantization_operators", default.quantization_operators)
            ),
        )
