"""The sizes of a task's model and data: what predicts how much memory and time a trial takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkloadProfile:
    """A model in numbers of parameters and widths, and its data in examples and word pieces.

    ``embedding_parameters`` come before the first layer and ``head_parameters`` after the last;
    each of ``layers`` has ``layer_parameters``. ``dropout`` says whether the model drops out by
    itself. Training examples have ``median``, ``p95`` and ``longest`` word pieces, and none more
    than ``max_length``. ``idle_gib`` is what a worker holds of the host's memory before its trial.
    ``steps`` is how many optimizer steps each trial takes; where it is ``None``, strategies say it
    in epochs.
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

    @property
    def parameters(self) -> int:
        """All parameters of the model, before anything is pruned."""
        layers = self.layers * self.layer_parameters
        return self.embedding_parameters + layers + self.head_parameters
