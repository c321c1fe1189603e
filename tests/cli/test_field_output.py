"""Output on terminals and pipes without UTF-8."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine

TRAIN = "café-日本.jsonl"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_field_output_without_utf8(cli: CommandLine, encoding: str) -> None:
    text = Path(cli.path / "tiny.yaml").read_text(encoding="utf-8")
    renamed = text.replace("train.jsonl", TRAIN)
    Path(cli.path / "train.jsonl").rename(cli.path / TRAIN)
    Path(cli.path / "tiny.yaml").write_text(renamed, encoding="utf-8")
    environment = {**cli.environment, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "autotune", *arguments]
        return subprocess.run(
            command, cwd=cli.path, env=environment, capture_output=True, check=False
        )

    ended = run("search", "tiny.yaml", "--set", "budget.trials=1")
    assert ended.returncode == 0, ended.stderr
    assert b"task: builtin:bert-tiny on caf" in ended.stderr
    for command in (("pareto", "tiny"), ("show", "tiny", "0")):
        assert run(*command).returncode == 0
        json.loads(run(*command, "--json").stdout)
