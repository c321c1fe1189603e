"""The sizes of a task's model and data, from which memory and time of trials are predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autotune.domain.strategy import Strategy


@dataclass(frozen=True)
class WorkloadProfile:
    """A model in numbers of parameters and widths, and its data in samples and tokens.

    The embeddings have ``embedding_parameters``, each of ``layers`` has ``layer_parameters``, and
    the modules after the last layer have ``head_parameters``. ``dropout``: whether the model's
    configuration has dropout. Training samples have ``median``, ``p95`` and ``longest`` tokens,
    none more than ``max_length``. ``idle_gib`` is the host memory of a worker without a trial.
    ``steps`` is the number of optimizer steps of each trial; ``None`` if it follows from the epochs
    of the strategy. ``models`` are the profiles of the other models that a study searches.
    ``task_length`` is the limit of the task where longer samples are searched too.
    ``has_fused_attention``: whether the model has torch's fused kernel. The weights of a layer are
    used ``passes_per_layer`` times in a forward pass: more than once where layers share them.
    """

    embedding_parameters: int
    layer_parameters: int
    head_parameters: int
    layers: int
    hidden: int
    heads: int
    intermediate_size: int
    labels: int
    label_per_token: bool
    dropout: bool
    train_samples: int
    validation_samples: int
    max_length: int
    median: int
    p95: int
    longest: int
    idle_gib: float
    steps: int | None = None
    models: Mapping[str, WorkloadProfile] = field(default_factory=dict, hash=False)
    task_length: int | None = None
    has_fused_attention: bool = True
    passes_per_layer: float = 1.0

    def under(self, strategy: Strategy) -> WorkloadProfile:
        """The profile of the model and the length of ``strategy``."""
        profile, length = self.models.get(str(strategy["model"]), self), strategy["max_length"]
        if isinstance(length, str):
            length = profile.max_length if self.task_length is None else self.task_length
        limit = min(int(length), profile.max_length)
        if limit == profile.max_length:
            return profile
        lengths = {n: min(getattr(profile, n), limit) for n in ("median", "p95", "longest")}
        return replace(profile, max_length=limit, **lengths)

    @property
    def parameters(self) -> int:
        """All parameters of the model before pruning."""
        layers = self.layers * self.layer_parameters
        return self.embedding_parameters + layers + self.head_parameters
