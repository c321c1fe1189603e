"""Processes that run Python."""

from __future__ import annotations

import os

import pytest

import autotune.deployment.environment as environment
from autotune.errors import ExecutionError


def test_a_process_keeps_its_errors_and_its_code() -> None:
    arguments = ["-c", "import sys; print('a line', file=sys.stderr); sys.exit(3)"]
    process = environment.run_python(arguments, "a program", environment=os.environ)
    assert (process.returncode, process.stderr) == (3, "a line\n")


def test_a_process_that_hangs_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MAX_SECONDS", 1)
    arguments = ["-c", "import time; time.sleep(600)"]
    with pytest.raises(ExecutionError, match="a program did not end") as caught:
        environment.run_python(arguments, "a program", environment=os.environ, hint="run it")
    assert caught.value.hint == "run it"
