"""The data is a part of the task: a study does not go on with other rows under the same path."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.cli.conftest import CommandLine, Result


def test_changed_data_is_another_task(searched: tuple[CommandLine, Result], tmp_path: Path) -> None:
    """In a copy of the folder: other tests use its data."""
    cli = CommandLine(tmp_path / "copy")
    shutil.copytree(searched[0].path, cli.path)
    before = cli.run("trials", "tiny", "--json").document
    search = ("search", "tiny.yaml", "--set", f"budget.trials={len(before) + 1}")
    export = ("export", "tiny", "--trial", "0", "--to", "hf-trainer", "-o", "out")
    path = cli.path / "train.jsonl"
    original = path.read_text(encoding="utf-8")
    swapped = original.replace('"food"', '"x"').replace('"weather"', '"food"')
    path.write_text(swapped.replace('"x"', '"weather"'), encoding="utf-8")

    again = cli.run(*search)
    assert again.code == 2
    assert "the content of task.dataset was" in again.err and "--study tiny-2" in again.err
    exported = cli.run(*export)
    assert exported.code == 2 and "task.dataset has changed since" in exported.err
    assert not (cli.path / "out").exists()

    path.write_text(original, encoding="utf-8")
    os.utime(path, (1, 1))
    assert cli.run(*export).code == 0
    restored = cli.run(*search, timeout=600)
    assert restored.code == 0, restored.err
    assert len(cli.run("trials", "tiny", "--json").document) == len(before) + 1
