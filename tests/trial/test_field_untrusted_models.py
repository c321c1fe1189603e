"""A model folder is data: code in it never runs."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from data_files import tiny, write_splits
from test_models import FAMILIES, save

from autotune.errors import ModelError
from autotune.trial.data.datasets import prepare_task
from autotune.trial.models import load_model


class Payload:
    """Unpickled as a call that creates the file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_field_code_in_pickled_weights_does_not_run(tmp_path: Path) -> None:
    prepared = prepare_task(tiny(write_splits(tmp_path)))
    folder = save(FAMILIES["bert"](), prepared, tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    trace = tmp_path / "trace"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Payload(trace)}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(replace(prepared, model_dir=str(folder)))
    assert not trace.exists()


def test_field_code_of_a_model_does_not_run(tmp_path: Path) -> None:
    """``auto_map`` names classes in Python files of the folder."""
    prepared = prepare_task(tiny(write_splits(tmp_path)))
    folder = save(FAMILIES["bert"](), prepared, tmp_path / "bert")
    trace = tmp_path / "trace"
    (folder / "code.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    config = json.loads((folder / "config.json").read_text())
    names = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
    config["auto_map"] = dict.fromkeys(names, "code.Anything")
    (folder / "config.json").write_text(json.dumps(config))
    custom = prepare_task(tiny(write_splits(tmp_path), model=str(folder)))
    load_model(custom)
    assert not trace.exists()


@pytest.mark.parametrize("key", ["vocab", "merges"])
def test_field_settings_of_a_tokenizer_name_no_file(tmp_path: Path, key: str) -> None:
    """tokenizers reads a file that is named as the vocabulary, wherever it is."""
    prepared = prepare_task(tiny(write_splits(tmp_path)))
    folder = save(FAMILIES["bert"](), prepared, tmp_path / "bert")
    secret = tmp_path / "secret.txt"
    secret.write_text("[UNK]\nPASSWORD=1\n")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: str(secret)}))
    with pytest.raises(ModelError, match=f"{key} names the file") as caught:
        prepare_task(tiny(write_splits(tmp_path), model=str(folder)))
    assert "PASSWORD" not in str(caught.value)
