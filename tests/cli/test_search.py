"""A search from the command line, and the commands that read its results."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from autotune.domain import State
from tests.cli.conftest import CommandLine, Result

Searched = tuple[CommandLine, Result]


def test_search_prints_a_front(searched: Searched) -> None:
    """It is the front that ``pareto`` prints later."""
    cli, result = searched
    assert result.code == 0, result.err
    assert "Pareto front of tiny" in result.out
    assert "x" in result.out
    assert "hardware:" in result.err
    for step in ("autotune show tiny", "autotune dashboard", "autotune export tiny"):
        assert step in result.out
    assert result.out.startswith(cli.run("pareto", "tiny").out.rstrip())


def test_trials_as_json(searched: Searched) -> None:
    cli, _ = searched
    trials = cli.run("trials", "tiny", "--json").document
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
    cli, _ = searched
    document = cli.run("pareto", "tiny", "--json").document
    assert document["study"] == "tiny"
    assert document["objectives"][0] == {
        "metric": "train_samples_per_second", "direction": "maximize",
    }  # fmt: skip
    assert document["baseline"]["number"] == 0
    numbers = [t["number"] for t in document["front"]]
    assert document["knee"] in numbers
    assert document["hypervolume"] > 0


def test_show_prints_all_details_of_a_trial(searched: Searched) -> None:
    cli, _ = searched
    document = cli.run("show", "tiny", "0", "--json").document
    assert document["samples"]["train_samples_per_second"]["samples"]
    assert document["curve"]
    assert document["memory_gib"]
    shown = cli.run("show", "tiny", "0").out
    assert "Strategy" in shown
    assert "learning_rate" in shown
    assert "log:" in shown


@pytest.mark.parametrize(
    "command", [("studies",), ("status", "tiny"), ("trials", "tiny"), ("pareto", "tiny")]
)
def test_reading_commands_print_text_and_json(searched: Searched, command: tuple[str, ...]) -> None:
    cli, _ = searched
    text = cli.run(*command)
    assert text.code == 0
    assert text.out.strip()
    result = cli.run(*command, "--json")
    json.loads(result.out)
    assert result.code == 0


def test_second_search_continues_the_study(searched: Searched, confirmed: Searched) -> None:
    """In a copy of the folder: other tests read the first search."""
    (first, _), (second, result) = searched, confirmed
    assert result.code == 0, result.err
    before, after = (cli.run("trials", "tiny", "--json").document for cli in (first, second))
    new = [trial for trial in after[len(before) :] if trial["origin"] != "isolated"]
    assert len(before) + len(new) == 6
    for old, same in zip(before, after, strict=False):  # another trial can change the verdict
        assert {**old, "verdict": ""} == {**same, "verdict": ""}


def test_study_with_different_settings_is_refused(searched: Searched) -> None:
    cli, _ = searched
    result = cli.run("search", "tiny.yaml", "--set", "task.seed=2")
    assert result.code == 2
    assert "seed" in result.err
    assert "--study" in result.err
    assert "Traceback" not in result.err


def test_first_ctrl_c_finishes_the_running_trial(cli: CommandLine) -> None:
    command = [sys.executable, "-m", "autotune", "search", "tiny.yaml", "--set",
               "budget.trials=50"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=cli.path, env=cli.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not cli.path.joinpath("runs/tiny/0001").is_dir() and process.poll() is None:
        time.sleep(0.1)  # the timeout of the test ends the wait
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "resume tiny" in err
    trials = cli.run("trials", "tiny", "--json").document
    assert len(trials) < 50
    assert {t["state"] for t in trials} == {"complete"}
    assert "Pareto front" in out
