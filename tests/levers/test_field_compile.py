"""``compile`` is offered only where it can run, and its absence has a reason."""

from __future__ import annotations

import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.hardware import host as hardware
from autotune.levers import LEVERS
from tests.spec.hosts import CPU, GPU


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        (("cc", "c++", "python.h"), None),
        (("cc", "c++"), "headers of Python"),
        (("cc", "python.h"), "C++ compiler"),
        ((), "C++ compiler (g++ or clang++) on PATH and the headers of Python"),
    ],
)
def test_missing_tools_are_named(tools: tuple[str, ...], reason: str | None) -> None:
    for host in (replace(CPU, tools=tools), replace(GPU, tools=tools)):
        answer = LEVERS["compile"].unavailable(host, True)
        assert answer is None if reason is None else answer is not None and reason in answer
        assert LEVERS["compile"].unavailable(host, False) is None


def test_a_c_compiler_is_needed_on_gpus_only() -> None:
    tools = ("c++", "python.h")
    assert LEVERS["compile"].unavailable(replace(CPU, tools=tools), True) is None
    reason = LEVERS["compile"].unavailable(replace(GPU, tools=tools), True)
    assert reason == "torch.compile needs a C compiler (gcc or clang) on PATH"


def test_tools_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert not {"cc", "c++", "python.h"} & {*hardware.tools()}
    for name in ("clang++", "my-cc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "Python.h").touch()
    assert {"c++", "python.h"} <= {*hardware.tools()} and "cc" not in hardware.tools()
    monkeypatch.setenv("CC", "my-cc -O2")
    assert "cc" in hardware.tools()
