"""``validate --explain``: what is searched, why not more, how long; the rest with ``-v``."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from autotune.cli.tables import explanation_listings
from autotune.levers import LEVERS
from autotune.spec import Explanation, explain, load
from tests.cli.conftest import CommandLine
from tests.spec.hosts import CPU

FILE = "study: s\nobjectives: [accuracy]\nspace: {batch_size: [8, 16], precision: auto}\n"


def explanation(*lines: str) -> Explanation:
    return explain(load(FILE + "\n".join([*lines, ""]), host=CPU), CPU)


def printed(content: Explanation, *, verbose: bool = False) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(explanation_listings(content, verbose=verbose))
    return capture.get()


def test_only_levers_of_the_file_are_listed() -> None:
    short, long = printed(explanation()), printed(explanation(), verbose=True)
    assert "batch_size" in short and "left out: tf32" in short and "optimizer" not in short
    assert all(name in long for name in LEVERS)
    assert f"{len(LEVERS) - 2} other levers keep their defaults" in short and "-v" in short
    assert len(short.splitlines()) < 16 < len(long.splitlines())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["budget: {trials: 24, minutes: 10}"], "ends after 24 trials or 10 minutes, whichever"),
        (["budget: {trials: 6}", "limits: {minutes: 10}"], "the search takes at most 1.0 hours"),
        (["budget: {trials: 6}"], "unknown before the first trial: set budget.minutes"),
        (["budget: {minutes: 5}", "confirm: {top: 3}"], "up to 4 trials of it confirm the best"),
        (["budget: {usd: 2}"], "ends after $2;"),
    ],
)
def test_the_duration_is_said(lines: list[str], expected: str) -> None:
    assert expected in explanation(*lines).duration
    assert expected.split()[0] in printed(explanation(*lines))


def test_validate_opens_the_data(cli: CommandLine, tmp_path: Path) -> None:
    result = cli.run("validate", "tiny.yaml", "--explain", "--probe")
    assert result.code == 0 and "train" in result.err and "duration:" in result.out
    assert "plan: on 96 samples the default takes about " in " ".join(result.err.split())
    wrong = cli.run("validate", "tiny.yaml", "--set", "task.dataset.train=nothing.jsonl")
    assert wrong.code == 2 and "nothing.jsonl" in wrong.err and "valid\n" not in wrong.err
