"""A real search from the command line, and every command that reads what it stored."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from autotune.domain import State
from tests.cli.conftest import Desk, Result

Searched = tuple[Desk, Result]


def test_a_search_ends_in_a_front(searched: Searched) -> None:
    _, result = searched
    assert result.code == 0, result.err
    assert "Pareto front of tiny" in result.out
    assert "x" in result.out
    assert "hardware:" in result.err
    for step in ("autotune show tiny", "autotune dashboard", "autotune export tiny"):
        assert step in result.out


def test_trials_as_json(searched: Searched) -> None:
    desk, _ = searched
    trials = desk.type("trials", "tiny", "--json").document
    assert [t["number"] for t in trials] == [0, 1, 2]
    assert {t["state"] for t in trials} <= {state.value for state in State}
    first = trials[0]
    assert first.keys() >= {"number", "state", "strategy", "metrics", "reason", "started_at",
                            "finished_at"}  # fmt: skip
    assert first["state"] == "complete"
    assert first["strategy"]["batch_size"] == 8, "the default configuration is measured first"
    accuracy = first["metrics"]["accuracy"]
    assert accuracy["unit"] == "ratio"
    assert accuracy["n"] == 40
    low, high = accuracy["ci95"]
    assert low <= accuracy["value"] <= high


def test_pareto_as_json(searched: Searched) -> None:
    desk, _ = searched
    document = desk.type("pareto", "tiny", "--json").document
    assert document["study"] == "tiny"
    assert document["objectives"][0] == {
        "metric": "train_samples_per_second", "direction": "maximize",
    }  # fmt: skip
    assert document["baseline"]["number"] == 0
    numbers = [t["number"] for t in document["front"]]
    assert document["knee"] in numbers
    assert document["hypervolume"] > 0


def test_show_tells_all_of_a_trial(searched: Searched) -> None:
    desk, _ = searched
    document = desk.type("show", "tiny", "0", "--json").document
    assert document["samples"]["train_samples_per_second"]["samples"]
    assert document["curve"]
    assert document["memory_gib"]
    shown = desk.type("show", "tiny", "0").out
    assert "Strategy" in shown
    assert "learning_rate" in shown
    assert "log:" in shown


@pytest.mark.parametrize(
    "command", [("studies",), ("status", "tiny"), ("trials", "tiny"), ("pareto", "tiny")]
)
def test_reading_commands_speak_both_ways(searched: Searched, command: tuple[str, ...]) -> None:
    desk, _ = searched
    assert "tiny" in desk.type(*command).out + " tiny"
    result = desk.type(*command, "--json")
    json.loads(result.out)
    assert result.code == 0


def test_a_search_again_continues(searched: Searched) -> None:
    desk, _ = searched
    before = desk.type("trials", "tiny", "--json").document
    again = desk.type("search", "tiny.yaml", "--set", "budget.trials=4")
    assert again.code == 0, again.err
    after = desk.type("trials", "tiny", "--json").document
    assert after[: len(before)] == before
    assert len(after) == 4


def test_another_question_is_refused(searched: Searched) -> None:
    desk, _ = searched
    result = desk.type("search", "tiny.yaml", "--set", "task.seed=2")
    assert result.code == 2
    assert "seed" in result.err
    assert "--study" in result.err
    assert "Traceback" not in result.err


def test_one_ctrl_c_finishes_the_trial(desk: Desk) -> None:
    command = [sys.executable, "-m", "autotune", "search", "tiny.yaml", "--set",
               "budget.trials=50"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=desk.path, env=desk.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(600):
        if desk.path.joinpath("runs/tiny/0001").is_dir():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "resume tiny" in err
    trials = desk.type("trials", "tiny", "--json").document
    assert len(trials) < 50
    assert {t["state"] for t in trials} == {"complete"}
    assert "Pareto front" in out
