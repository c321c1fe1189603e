"""Models as people have them: trained heads, odd configs, tokenizers that do not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from data_files import rows, tiny, write_jsonl, write_splits
from test_models import SMALL, save

from autotune.domain import Task
from autotune.errors import ModelError
from autotune.trial.data import tokenizer as tokenizer_module
from autotune.trial.data.datasets import PreparedTask, prepare_task
from autotune.trial.head import label_order
from autotune.trial.model_sources import find_model, has_weights, model_files
from autotune.trial.models import load_model
from autotune.trial.workload import profile_workload

BERT = {**SMALL, "intermediate_size": 32}


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedTask:
    return prepare_task(tiny(write_splits(tmp_path)))


def classifier(names: list[str], prepared: PreparedTask, folder: Path, **settings: Any) -> Path:
    """A BERT with a trained head for ``names``, whose row ``i`` is filled with ``i + 1``."""
    config = transformers.BertConfig(**BERT, id2label=dict(enumerate(names)), **settings)
    model = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        for row in range(len(names)):
            model.classifier.weight[row] = row + 1
            model.classifier.bias[row] = row + 1
    return save(model, prepared, folder)


def task(tmp_path: Path, model: Path, **settings: Any) -> Task:
    return tiny(write_splits(tmp_path), model=str(model), **settings)


@pytest.mark.parametrize(
    ("names", "biases"),
    [(["no", "yes"], [1, 2]), (["Yes", "No"], [2, 1]), (["LABEL_0", "LABEL_1"], [0, 0])],
)
def test_a_trained_head_keeps_its_meaning(
    tmp_path: Path, prepared: PreparedTask, names: list[str], biases: list[int]
) -> None:
    """The data has the labels no and yes."""
    custom = prepare_task(task(tmp_path, classifier(names, prepared, tmp_path / "model")))
    first, again = (load_model(custom, seed=3).classifier for _ in range(2))
    assert first.bias.tolist() == biases
    assert torch.equal(first.weight, again.weight)
    notes = [note for note in custom.notes if "head" in note]
    assert len(notes) == (names != ["no", "yes"])


def test_names_that_transformers_makes_up_are_numbers() -> None:
    assert label_order(["LABEL_0", "LABEL_1"], ["0", "1"]) == [0, 1]
    assert label_order(["b", "a", "c"], ["a", "b", "c"]) == [1, 0, 2]
    assert label_order(["a", "b"], ["a", "c"]) is None
    assert label_order(["a", "A"], ["a", "A"]) is None


def test_the_task_decides_the_problem_type(tmp_path: Path, prepared: PreparedTask) -> None:
    problem = "multi_label_classification"
    folder = classifier(["no", "yes"], prepared, tmp_path / "m", problem_type=problem)
    model = load_model(prepare_task(task(tmp_path, folder)))
    assert model.config.problem_type == "single_label_classification"
    tokens = torch.ones((2, 4), dtype=torch.long)
    assert torch.isfinite(model(input_ids=tokens, labels=torch.tensor([0, 1])).loss)


def test_a_token_without_embedding_is_one_error(tmp_path: Path, prepared: PreparedTask) -> None:
    folder = classifier(["no", "yes"], prepared, tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"filler{i}" for i in range(400 - len(tokenizer))] + ["superb"])
    tokenizer.save_pretrained(folder)
    prepare_task(task(tmp_path, folder))  # the token does not occur
    train = write_jsonl(tmp_path / "a.jsonl", [{"text": "superb", "label": "no"}, *rows()])
    with pytest.raises(ModelError, match=r"has 401 tokens.*of 400: none for 'superb'") as caught:
        prepare_task(tiny({"train": str(train)}, model=str(folder)))
    assert "resize_token_embeddings" in str(caught.value.hint)


def test_model_max_length_zero_is_an_error(tmp_path: Path, prepared: PreparedTask) -> None:
    folder = classifier(["no", "yes"], prepared, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_bytes()) | {"model_max_length": 0}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="model_max_length is 0"):
        prepare_task(task(tmp_path, folder))


@pytest.mark.parametrize("kind", ["roberta-prelayernorm", "longformer", "ibert", "bert"])
def test_positions_are_read_from_the_model(
    tmp_path: Path, prepared: PreparedTask, kind: str
) -> None:
    config = transformers.AutoConfig.for_model(kind, **BERT, max_position_embeddings=64,
                                               pad_token_id=0, attention_window=8)  # fmt: skip
    folder = save(transformers.AutoModel.from_config(config), prepared, tmp_path / kind)
    custom = prepare_task(task(tmp_path, folder, max_length=128))
    assert custom.max_length == (64 if kind == "bert" else 63)
    load_model(custom)(input_ids=torch.full((1, custom.max_length), 5))


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_the_strategy_decides_the_attention(
    tmp_path: Path, prepared: PreparedTask, key: str
) -> None:
    folder = classifier(["no", "yes"], prepared, tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {key: "flash_attention_2"}))
    custom = prepare_task(task(tmp_path, folder))
    assert load_model(custom, attention="sdpa").config._attn_implementation == "sdpa"
    assert profile_workload(task(tmp_path, folder)).layers == 2
    assert any("config.json asks for flash_attention_2" in note for note in custom.notes)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{}"),
        ("tokenizer.json", '{"version": "1.0", "model": {"type": "Nothing"}}'),
        ("tokenizer.json", "["),
        ("tokenizer_config.json", '{"model_max_length": "512"}'),
        ("tokenizer_config.json", "3"),
    ],
)
def test_a_damaged_tokenizer_names_the_model(
    tmp_path: Path, prepared: PreparedTask, name: str, content: str
) -> None:
    folder = classifier(["no", "yes"], prepared, tmp_path / "model")
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=str(folder)):
        prepare_task(task(tmp_path, folder))


def test_a_sentencepiece_vocabulary_names_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = transformers.AutoConfig.for_model("deberta-v2", **BERT)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "spm.model").write_bytes(b"not a vocabulary")
    monkeypatch.setattr(tokenizer_module, "_is_installed", lambda name: name != "sentencepiece")
    with pytest.raises(ModelError, match="needs sentencepiece") as caught:
        prepare_task(task(tmp_path, tmp_path / "model"))
    assert caught.value.hint == "pip install sentencepiece"
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"spm\.model: not a SentencePiece vocabulary"):
        prepare_task(task(tmp_path, tmp_path / "model"))


def test_all_files_of_a_model_are_copied(tmp_path: Path) -> None:
    names = {"config.json", "vocab.txt", "bpe.codes", "pytorch_model.bin.index.json"}
    shards = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    for name in (*names, "training_args.bin", "model.py"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    (tmp_path / shards[0]).write_bytes(b"")
    assert not has_weights(tmp_path)
    (tmp_path / shards[1]).write_bytes(b"")
    assert has_weights(tmp_path)
    assert {path.name for path in model_files(tmp_path)} == {*names, *shards}


def test_the_hub_is_asked_for_files_that_the_cache_lacks(
    tmp_path: Path, prepared: PreparedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = classifier(["no", "yes"], prepared, tmp_path / "model")
    tokenizer = {path: path.read_bytes() for path in folder.glob("tokenizer*")}
    for path in tokenizer:
        path.unlink()
    calls = []

    def snapshot_download(name: str, *, local_files_only: bool, **_: Any) -> str:
        calls.append(local_files_only)
        if not local_files_only:
            for path, content in tokenizer.items():
                path.write_bytes(content)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    find_model("owner/model", 0)
    assert calls == [True, False] and all(path.exists() for path in tokenizer)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_the_memory_of_scores_is_not_charged_to_the_strategy() -> None:
    code = (
        "import torch\n"
        "from autotune.measure import memory\n"
        "memory.reset_peak()\n"
        "before = memory.peak_gib()\n"
        "with memory.excluded_from_peak():\n"
        "    block = torch.ones(64, 2**20)\n"
        "    del block\n"
        "assert memory.peak_gib() - before < 0.1\n"
        "torch.ones(64, 2**20)\n"
        "assert memory.peak_gib() - before > 0.2\n"
    )
    # A process of its own: an earlier test may have set the allocator to keep what is freed.
    subprocess.run([sys.executable, "-c", code], check=True)
