"""The files of a model that an export copies, and damaged ``config.json`` files."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.errors import ModelError
from autotune.trial.model_sources import model_files, require_encoder


def test_field_links_out_of_a_model_folder_are_not_copied(tmp_path: Path) -> None:
    folder, secret = tmp_path / "model", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("key")
    (folder / "config.json").write_text("{}")
    (folder / "vocab.txt").symlink_to(folder / "config.json")
    (folder / "sub.json").mkdir()
    assert len(model_files(folder)) == 2
    (folder / "notes.txt").symlink_to(secret)
    with pytest.raises(ModelError, match="outside of the model's folder") as caught:
        model_files(folder)
    assert "cp --remove-destination" in str(caught.value.hint)


def test_field_links_within_the_cache_of_the_hub_are_copied(tmp_path: Path) -> None:
    cache = tmp_path / "models--a--b"
    blob, folder = cache / "blobs/123", cache / "snapshots/abc"
    for path in (blob.parent, folder):
        path.mkdir(parents=True)
    blob.write_text("{}")
    (folder / "config.json").symlink_to("../../blobs/123")
    assert [path.name for path in model_files(folder)] == ["config.json"]


def test_field_file_names_that_cannot_be_printed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a\nb.txt").write_text("")
    with pytest.raises(ModelError, match="cannot be printed"):
        model_files(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deep"),
        ("[1]", "is not an object"),
        ("{", "is not JSON"),
        ('{"model_type": ["bert"]}', "names no model_type"),
        ('{"model_type": "\\ud83d"}', "is not a BERT-like encoder"),
    ],
)
def test_field_damaged_configs_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        require_encoder(tmp_path)
    caught.value.message.encode()
