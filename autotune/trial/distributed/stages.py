"""A stage of a pipeline: the model with everything but its own layers taken out.

The model keeps its form, so its own code still runs it: a layer that belongs to another stage hands
on what it is given, and so do the embeddings of all stages but the first.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.trial.distributed.embedding import by_row
from autotune.trial.effects.precision import Precision
from autotune.trial.encoder import encoder_of


class PassThrough(nn.Module):
    """In place of a module of another stage."""

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden


class StageInput(nn.Module):
    """In place of the embeddings: what the stage before has sent."""

    def forward(self, *args: Any, inputs_embeds: Tensor | None = None, **kwargs: Any) -> Tensor:
        if inputs_embeds is not None:
            return inputs_embeds
        return next(given for given in args if given is not None)


class Stage(nn.Module):
    """Stage ``index`` of a model: takes token ids (the first) or hidden states, returns hidden
    states or logits (the last)."""

    def __init__(
        self, model: PreTrainedModel, index: int, *, first: bool, last: bool, precision: Precision
    ) -> None:
        super().__init__()
        self.model, self.index, self.first, self.last = model, index, first, last
        self._precision = precision

    def forward(
        self,
        given: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        inputs: dict[str, Any] = {"attention_mask": attention_mask}
        inputs["input_ids" if self.first else "inputs_embeds"] = given
        if self.first and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        with self._precision.autocast():
            if self.last:
                logits: Tensor = self.model(**inputs).logits
                return logits
            hidden: Tensor = self.model.base_model(**inputs).last_hidden_state
        return hidden.to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        """Hidden states travel as the weights of layer norms are: that is what layers put out."""
        return torch.bfloat16 if self._precision.name == "bf16-pure" else torch.float32

    def example_input(self, rows: int, length: int) -> Tensor:
        """What the stage is given, without memory."""
        if self.first:
            return torch.empty(rows, length, dtype=torch.long, device="meta")
        return self._hidden(rows, length)

    def example_output(self, rows: int, length: int) -> Tensor:
        """What the stage returns, without memory."""
        if not self.last:
            return self._hidden(rows, length)
        config = self.model.config
        shape = (rows, length) if "Token" in type(self.model).__name__ else (rows,)
        dtype = self._dtype if self._precision.name in ("fp32", "tf32", "bf16-pure") else None
        return torch.empty(
            *shape, int(config.num_labels or 0), dtype=dtype or torch.bfloat16, device="meta"
        ).requires_grad_()

    def _hidden(self, rows: int, length: int) -> Tensor:
        width = int(self.model.config.hidden_size)
        return torch.empty(rows, length, width, dtype=self._dtype, device="meta").requires_grad_()


def build_stage(
    model: PreTrainedModel, shares: Sequence[range], index: int, precision: Precision
) -> Stage:
    """Stage ``index`` of ``model``, whose weights it shares."""
    first, last = index == 0, index == len(shares) - 1
    own = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    encoder = encoder_of(own)
    for place in range(len(encoder.holder)):
        if place not in shares[index]:
            encoder.holder[place] = PassThrough()
    base = own.base_model
    if first:
        for module in encoder.embeddings:
            by_row(module)
    else:
        base.embeddings = StageInput()
        if hasattr(base, "embeddings_project"):
            base.embeddings_project = PassThrough()
    if not last:
        if getattr(base, "pooler", None) is not None:
            base.register_module("pooler", None)
        for name, child in list(own.named_children()):
            if child is not base:
                setattr(own, name, PassThrough())
    return Stage(own, index, first=first, last=last, precision=precision)
