"""A search over a tabular benchmark, from the command line."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from autotune.execution.replay.benchmark import write
from tests.cli.conftest import CommandLine
from tests.execution.synthetic_benchmark import SPEC, synthetic_benchmark

REPLAY = "executor: {kind: replay, landscape: hills.parquet}\n"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    write(synthetic_benchmark(), tmp_path / "hills.parquet")
    text = SPEC.replace("sampler: grid", "sampler: random")
    (tmp_path / "hills.yaml").write_text(text + REPLAY)
    (tmp_path / "bare.yaml").write_text(text + "executor: replay\n")
    return CommandLine(tmp_path)


def test_replayed_search_takes_simulated_time(cli: CommandLine) -> None:
    result = cli.run("search", "hills.yaml", "--set", "budget={trials: 8}", "--no-sharing",
                       "--set", "early_stopping=none")  # fmt: skip
    assert result.code == 0, result.err
    assert "made up" in result.err, "the hardware is that of the recording"
    trials = cli.run("trials", "hills", "--json").document
    assert len(trials) == 8
    assert {t["state"] for t in trials} == {"complete"}
    spans = [[datetime.fromisoformat(t[end]) for end in ("started_at", "finished_at")]
             for t in trials]  # fmt: skip
    seconds = {round((finished - started).total_seconds(), 2) for started, finished in spans}
    assert seconds == {5.75, 9.75}, "seconds of the recording, in simulated time"


@pytest.mark.parametrize(
    ("options", "expected"), [((), "own.db"), (("--storage", "sqlite:///given.db"), "given.db")]
)
def test_the_storage_of_a_file_wins_over_the_environment(
    cli: CommandLine, options: tuple[str, ...], expected: str
) -> None:
    """As in Python; an option wins over both."""
    command = [
        sys.executable, "-m", "autotune", "search", "hills.yaml", "--set", "budget={trials: 1}",
        "--set", "storage=sqlite:///own.db", *options,
    ]  # fmt: skip
    environment = {**cli.environment, "AUTOTUNE_STORAGE": "sqlite:///variable.db"}
    subprocess.run(command, cwd=cli.path, env=environment, check=True, capture_output=True)
    assert [path.name for path in cli.path.glob("*.db")] == [expected]


def test_replay_without_a_recording_is_an_error(cli: CommandLine) -> None:
    result = cli.run("search", "bare.yaml")
    assert result.code == 2
    assert "landscape: FILE" in result.err
