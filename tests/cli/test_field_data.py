"""The data is a part of the task: a study does not go on with other rows under the same path."""

from __future__ import annotations

from tests.cli.conftest import EXPORT, CommandLine, Refusal, Result

Searched = tuple[CommandLine, Result]


def test_changed_data_is_another_task(refused: Refusal) -> None:
    assert refused.search.code == 2
    assert "the content of task.dataset was" in refused.search.err
    assert "--study tiny-2" in refused.search.err
    assert refused.export.code == 2 and "task.dataset has changed since" in refused.export.err
    assert not (refused.cli.path / "out").exists()


def test_restored_data_is_the_same_task(confirmed: Searched) -> None:
    """Although the file has another time."""
    cli, result = confirmed
    assert result.code == 0, result.err
    assert cli.run(*EXPORT[:-1], "restored").code == 0
