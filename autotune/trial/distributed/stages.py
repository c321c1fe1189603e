"""A stage of a pipeline: the model without the layers of the other stages.

The model keeps its structure, so that its own code still runs it. A layer of another stage passes
its input through, and so do the embeddings of all stages but the first.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
)

from autotune.trial.distributed.embedding import replace_embeddings
from autotune.trial.effects.precision import Precision
from autotune.trial.encoder import encoder_of
from autotune.trial.loss import output_logits


class PassThrough(nn.Module):
    """Replaces a module of another stage: returns its input."""

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden


class StageInput(nn.Module):
    """Replaces the embeddings: returns the hidden states of the previous stage."""

    def forward(self, *args: Any, inputs_embeds: Tensor | None = None, **kwargs: Any) -> Tensor:
        if inputs_embeds is not None:
            return inputs_embeds
        return next(argument for argument in args if argument is not None)


class Stage(nn.Module):
    """Stage ``index`` of a model. It takes token ids (the first) or hidden states, and returns
    hidden states or logits (the last)."""

    def __init__(
        self,
        model: PreTrainedModel,
        index: int,
        *,
        is_first: bool,
        is_last: bool,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.model, self.index, self.is_first, self.is_last = model, index, is_first, is_last
        self._precision = precision

    def forward(
        self,
        stage_input: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        inputs: dict[str, Any] = {"attention_mask": attention_mask}
        inputs["input_ids" if self.is_first else "inputs_embeds"] = stage_input
        if self.is_first and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        with self._precision.autocast():
            if self.is_last:
                return output_logits(self.model(**inputs))
            hidden: Tensor = self.model.base_model(**inputs).last_hidden_state
        return hidden.to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        """The dtype of hidden states between stages: that of layer norms, which end a layer."""
        return torch.bfloat16 if self._precision.name == "bf16-pure" else torch.float32

    def example_input(self, num_rows: int, length: int) -> Tensor:
        """The shape and dtype of the stage's input, as a meta tensor."""
        if self.is_first:
            return torch.empty(num_rows, length, dtype=torch.long, device="meta")
        return self._hidden(num_rows, length)

    def example_output(self, num_rows: int, length: int) -> Tensor:
        """The shape and dtype of the stage's output, as a meta tensor."""
        if not self.is_last:
            return self._hidden(num_rows, length)
        config = self.model.config
        shape = (num_rows, length) if _has_logits_per_token(self.model) else (num_rows,)
        dtype = self._dtype if self._precision.name in ("fp32", "tf32", "bf16-pure") else None
        return torch.empty(
            *shape, int(config.num_labels or 0), dtype=dtype or torch.bfloat16, device="meta"
        ).requires_grad_()

    def _hidden(self, num_rows: int, length: int) -> Tensor:
        shape = (num_rows, length, int(self.model.config.hidden_size))
        return torch.empty(*shape, dtype=self._dtype, device="meta").requires_grad_()


def _has_logits_per_token(model: PreTrainedModel) -> bool:
    return type(model).__name__ in {
        *MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES.values(),
        *MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES.values(),
    }


def build_stage(
    model: PreTrainedModel, stage_layers: Sequence[range], index: int, precision: Precision
) -> Stage:
    """Stage ``index`` of ``model``, sharing its weights."""
    is_first, is_last = index == 0, index == len(stage_layers) - 1
    stage_model = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    encoder = encoder_of(stage_model)
    for layer in range(len(encoder.module_list)):
        if layer not in stage_layers[index]:
            encoder.module_list[layer] = PassThrough()
    base = stage_model.base_model
    if is_first:
        for module in encoder.embeddings:
            replace_embeddings(module)
    else:
        base.embeddings = StageInput()
        if hasattr(base, "embeddings_project"):
            base.embeddings_project = PassThrough()
    if not is_last:
        if getattr(base, "pooler", None) is not None:
            base.register_module("pooler", None)
        for name, child in list(stage_model.named_children()):
            if child is not base:
                setattr(stage_model, name, PassThrough())
    return Stage(stage_model, index, is_first=is_first, is_last=is_last, precision=precision)
