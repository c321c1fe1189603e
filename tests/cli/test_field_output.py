"""Output on pipes and terminals without UTF-8, colours, cursor movement, or much width."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from autotune.cli.output import PrintableConsole
from autotune.execution.replay.benchmark import write
from tests.cli.conftest import CommandLine
from tests.execution.synthetic_benchmark import SPEC, synthetic_benchmark

REPLAY = "executor: {kind: replay, landscape: hügel.parquet}\n"
SEARCH = ("search", "hügel.yaml", "--set", "budget={trials: 4}", "--set", "early_stopping=none")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLUMNS = 40

COMMANDS = """
import json, sys
from autotune.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
"""
"""Runs several commands in one process: starting one takes a second."""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    write(synthetic_benchmark(), tmp_path / "hügel.parquet")
    text = SPEC.replace("sampler: grid", "sampler: random")
    (tmp_path / "hügel.yaml").write_text(text + REPLAY, encoding="utf-8")
    return CommandLine(tmp_path)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_field_output_without_utf8(cli: CommandLine, encoding: str) -> None:
    environment = {**cli.environment, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}

    def run(*commands: Sequence[str]) -> bytes:
        process = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(commands)],
            cwd=cli.path, env=environment, check=False, capture_output=True,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return process.stdout

    text = run(SEARCH, ("pareto", "hills"), ("show", "hills", "0"))
    assert b"Pareto front of hills" in text and b"Strategy" in text
    text.decode(encoding)
    document = json.loads(run(("show", "hills", "0", "--json")))
    assert document["number"] == 0


def run_on_terminal(
    cli: CommandLine, arguments: Sequence[str], **environment: str
) -> tuple[int, str]:
    """The exit status of a command, and all that it sends to a terminal of ``COLUMNS`` columns."""
    master, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, COLUMNS))
    inherited = {name: value for name, value in cli.environment.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "autotune", *arguments],
        cwd=cli.path, env={**inherited, **environment},
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    sent = b""
    while part := _read(master):
        sent += part
    os.close(master)
    return process.wait(), sent.decode("utf-8")


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65_536)
    except OSError:  # the last process has closed the terminal
        return b""


def test_field_a_search_on_a_narrow_terminal_without_colours(cli: CommandLine) -> None:
    code, text = run_on_terminal(cli, SEARCH, TERM="xterm", NO_COLOR="1")
    assert code == 0, text
    assert "\x1b[2K" in text, "the panel is drawn again in place"
    assert not re.search(r"\x1b\[[0-9;]*(3|4)[0-7]m", text)
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", text))
    panel = [line for line in lines if "trials," in line or "running" in line]
    front = lines[next(n for n, line in enumerate(lines) if "Pareto front" in line) :]
    front = front[: next(n for n, line in enumerate(front) if line.startswith("Next:"))]
    assert panel and len(front) > 10
    assert max(len(line.rstrip()) for line in (*panel, *front)) <= COLUMNS


def test_field_a_dumb_terminal_gets_no_escapes(cli: CommandLine) -> None:
    code, text = run_on_terminal(cli, SEARCH, TERM="dumb", PYTHONIOENCODING="ascii")
    assert code == 0, text
    assert "\x1b" not in text and "Pareto front of hills" in text
    assert text.isascii()


@pytest.mark.parametrize("columns", ["0", "-5", "²", "wide", "", "9" * 5000])
def test_field_a_width_that_is_none_is_not_used(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert PrintableConsole().width >= COLUMNS
