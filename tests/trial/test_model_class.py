"""A model class of the user's own (``task.model_class``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from trial_cases import make_job

from autotune.deployment import trained_model
from autotune.domain import Completed, Infeasible
from autotune.errors import ModelError, UsageError
from autotune.trial import run
from autotune.trial.data.datasets import prepare_task
from autotune.trial.models import load_model
from autotune.trial.workload import profile_workload


class MeanPooled(BertPreTrainedModel):
    """A model of the user's own: the mean of the states, and a head without a pooler."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.scorer = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids: Any, attention_mask: Any = None, **inputs: Any) -> Any:
        inputs.pop("labels", None)
        if attention_mask is None:  # a batch without padding
            attention_mask = torch.ones_like(input_ids)
        states = self.bert(input_ids, attention_mask, **inputs).last_hidden_state
        mask = attention_mask.unsqueeze(-1)
        return SequenceClassifierOutput(logits=self.scorer((states * mask).sum(1) / mask.sum(1)))


def test_a_model_class_of_the_user(tmp_path: Path) -> None:
    """Its encoder is pruned as usual. Its trained model is kept, but loaded by its class only."""
    name = f"{__name__}:MeanPooled"
    job = make_job(tmp_path, settings={"model_class": name}, pruning_ratio=0.5,
                   pruning_score="magnitude")  # fmt: skip
    prepared = prepare_task(job.task)
    model, again = load_model(prepared, seed=3), load_model(prepared, seed=3)
    plain = load_model(prepare_task(replace(job.task, model_class=None)))
    assert isinstance(model, MeanPooled) and isinstance(again, MeanPooled)
    key = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(model.state_dict()[key], plain.state_dict()[key])
    assert torch.equal(model.scorer.weight, again.scorer.weight)
    assert profile_workload(job.task).head_parameters == model.scorer.weight.numel() + 2
    outcome = run.run_trial(replace(job, keeps_model=True), lambda point: None)
    assert isinstance(outcome, Completed), outcome
    folder = Path(job.directory) / "model"
    assert trained_model.read_facts(folder).auto_class == name
    with pytest.raises(ModelError, match="not of transformers"):
        trained_model.load(folder)
    scored = replace(job, strategy=job.strategy.with_values(pruning_score="taylor"))
    outcome = run.run_trial(scored, lambda point: None)
    assert isinstance(outcome, Infeasible) and "returns no loss for labels" in outcome.reason


def test_a_model_class_that_is_none(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"model_class": f"{__name__}:make_job"})
    with pytest.raises(UsageError, match="no subclass of PreTrainedModel"):
        profile_workload(job.task)
