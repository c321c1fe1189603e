"""The table of model families in docs/tasks.md, and a step of training with each of them.

``python tests/trial/test_model_table.py`` prints the table.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.auto import modeling_auto
from trial_cases import make_strategy

from autotune.domain import Task
from autotune.levers.model_types import LAYERED_TYPES
from autotune.trial.data.datasets import PreparedTask, load_split, prepare_task
from autotune.trial.distributed.ddp import replicate
from autotune.trial.loss import build_loss, output_logits
from autotune.trial.models import load_model
from autotune.trial.tasks import get_task_type
from autotune.trial.workload import profile_workload

DOCS = Path(__file__).parents[2] / "docs" / "tasks.md"

FAMILIES = {
    "bert": "BERT, MiniLM", "distilbert": "DistilBERT", "roberta": "RoBERTa",
    "xlm-roberta": "XLM-R", "camembert": "CamemBERT", "electra": "ELECTRA", "albert": "ALBERT",
    "deberta": "DeBERTa", "deberta-v2": "DeBERTa v2 and v3", "mpnet": "MPNet",
    "modernbert": "ModernBERT", "mobilebert": "MobileBERT", "longformer": "Longformer",
    "big_bird": "BigBird", "fnet": "FNet",
}  # fmt: skip

KINDS = ("text-classification", "token-classification", "question-answering")
"""One task kind for each class of models."""

COMMON: dict[str, Any] = {"vocab_size": 400, "max_position_embeddings": 66, "pad_token_id": 0}

SIZES: dict[str, Any] = {
    **COMMON, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "embedding_size": 16,
}  # fmt: skip

OWN_SIZES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "mobilebert": {"true_hidden_size": 16, "intra_bottleneck_size": 16},
    "longformer": {"attention_window": 4},
    "modernbert": {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
}


def model_class(family: str, kind: str) -> Any:
    """The class of transformers that has the head of ``kind``; ``None`` if there is none."""
    auto_class = getattr(transformers, get_task_type(kind).auto_class)
    config_class = transformers.CONFIG_MAPPING[family]
    return auto_class._model_mapping.get(config_class, None)


def table() -> str:
    lines = [
        "| family | `model_type` | texts | tokens | questions | sdpa attention | layers |",
        "|---|---|---|---|---|---|---|",
    ]
    for family, name in FAMILIES.items():
        classes = [model_class(family, kind) for kind in KINDS]
        marks = [*classes, classes[0]._supports_sdpa, family in LAYERED_TYPES]
        cells = " | ".join("yes" if mark else "no" for mark in marks)
        lines.append(f"| {name} | `{family}` | {cells} |")
    return "\n".join(lines)


def test_the_document_has_the_table() -> None:
    assert table() in DOCS.read_text(encoding="utf-8"), "python tests/trial/test_model_table.py"


def test_every_family_is_an_encoder_for_transformers() -> None:
    assert modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.keys() >= FAMILIES.keys()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedTask:
    from data_files import tiny, write_splits

    return prepare_task(tiny(write_splits(tmp_path_factory.mktemp("data"))))


def save_encoder(family: str, folder: Path) -> None:
    common = COMMON if family == "distilbert" else SIZES
    config = transformers.AutoConfig.for_model(family, **common, **OWN_SIZES.get(family, {}))
    transformers.AutoModel.from_config(config).save_pretrained(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lever_dropout_sets_all_dropout(
    tmp_path: Path, prepared: PreparedTask, family: str
) -> None:
    save_encoder(family, tmp_path)
    for kind in KINDS:
        model = load_model(replace(prepared, kind=kind, model_dir=str(tmp_path)), dropout=0.3)
        rates = {
            name: module.p
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Dropout)
        }
        assert rates == dict.fromkeys(rates, 0.3) and rates, kind


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_of_each_family_trains(
    tmp_path: Path, prepared: PreparedTask, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_encoder(family, tmp_path)
    own_model = replace(prepared, model_dir=str(tmp_path), has_mask=family != "fnet")
    split, loss = load_split(own_model, "train"), build_loss(own_model)
    arrays = split.batch(np.arange(4), 0)
    labels = torch.from_numpy(arrays.pop("labels"))
    if not own_model.has_mask:
        del arrays["attention_mask"]
    model = load_model(own_model, dropout=0.0)
    outputs = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    total = loss(output_logits(outputs), labels)
    total.backward()
    assert torch.isfinite(total) and total > 0
    monkeypatch.setattr("autotune.trial.workload.prepare_task", lambda task: own_model)
    profile = profile_workload(Task())
    assert profile.layers == 2 and profile.hidden == 16 and profile.layer_parameters > 0
    assert profile.passes_per_layer == (2 if family == "albert" else 1)
    assert profile.has_fused_attention == model._supports_sdpa
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(
        "autotune.trial.distributed.ddp.DistributedDataParallel",
        lambda module, *, broadcast_buffers=True, **options: arguments.update(options),
    )
    group: Any = SimpleNamespace(data_group=None)
    replicate(make_strategy(), model, model, group)
    has_unused = any(p.grad is None for p in model.parameters())
    assert arguments["find_unused_parameters"] >= has_unused


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
