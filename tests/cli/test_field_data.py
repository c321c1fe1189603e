"""The data is a part of the task: a study does not go on with other rows under the same path."""

from __future__ import annotations

import os

from tests.cli.conftest import CommandLine


def test_changed_data_is_another_task(cli: CommandLine) -> None:
    searched = cli.run("search", "tiny.yaml", "--set", "budget.trials=1")
    assert searched.code == 0, searched.err
    path = cli.path / "train.jsonl"
    original = path.read_text(encoding="utf-8")
    swapped = original.replace('"food"', '"x"').replace('"weather"', '"food"')
    path.write_text(swapped.replace('"x"', '"weather"'), encoding="utf-8")

    again = cli.run("search", "tiny.yaml", "--set", "budget.trials=2")
    assert again.code == 2
    assert "the content of task.dataset was" in again.err and "--study tiny-2" in again.err
    exported = cli.run("export", "tiny", "--trial", "0", "--to", "hf-trainer", "-o", "out")
    assert exported.code == 2 and "task.dataset has changed since" in exported.err
    assert not (cli.path / "out").exists()

    path.write_text(original, encoding="utf-8")
    os.utime(path, (1, 1))
    assert cli.run("export", "tiny", "--trial", "0", "--to", "hf-trainer", "-o", "out").code == 0
    assert cli.run("search", "tiny.yaml", "--set", "budget.trials=2").code == 0
    assert len(cli.run("trials", "tiny", "--json").document) == 2
