"""Confirmation of a front and a warm start, from the command line."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import CONFIRM, CommandLine, Result

Searched = tuple[CommandLine, Result]


def test_finalists_are_evaluated_on_the_test_split(confirmed: Searched) -> None:
    cli, result = confirmed
    assert result.code == 0, result.err
    assert "test split" in result.out
    trials = _trials(cli)
    assert [t["origin"] for t in trials] == ["baseline", *["sampler"] * 3, "confirm", "confirm"]
    assert [t["seed"] for t in trials] == [1, 1, 1, 1, 2, 2]
    assert trials[4]["strategy"] == trials[0]["strategy"], "the default first"
    number, confirmation = _finalist(cli)
    shown = cli.run("show", "tiny", str(number), "--json").document
    assert shown["confirming"] == [confirmation]
    assert shown["status"] in ("confirmed", "refuted", "undecided")
    accuracy = shown["paired"]["accuracy"]
    assert (accuracy["examples"], accuracy["seeds"], accuracy["by_example"]) == (40, 1, True)
    low, high = accuracy["ci95"]
    assert low <= accuracy["value"] <= high
    assert shown["paired"]["train_samples_per_second"]["pairs"] == 1
    document = cli.run("pareto", "tiny", "--json").document
    assert document["recommendations"]["knee"]["trial"] == document["knee"]
    assert document["knee"] in [point["number"] for point in document["front"]]


def _trials(cli: CommandLine) -> list[dict[str, Any]]:
    """Without runs that were repeated because the host was busy."""
    trials = cli.run("trials", "tiny", "--json").document
    return [trial for trial in trials if trial["origin"] != "isolated"]


def _finalist(cli: CommandLine) -> tuple[int, int]:
    """The number of the finalist, and of the trial that confirms it."""
    *before, last = _trials(cli)
    return next(t["number"] for t in before if t["strategy"] == last["strategy"]), last["number"]


def test_the_front_and_the_trial_show_the_runs(confirmed: Searched) -> None:
    cli, _ = confirmed
    front = cli.run("pareto", "tiny").out
    assert "✓ 1 run, test accuracy" in front, "the default is confirmed"
    finalist, confirmation = _finalist(cli)
    shown = cli.run("show", "tiny", str(finalist)).out
    assert "Full training runs repeated with other seeds" in shown
    assert "mean" in shown
    assert f"Confirms trial {finalist}: seed 2" in cli.run("show", "tiny", str(confirmation)).out


def test_study_imports_the_results_of_another(confirmed: Searched) -> None:
    cli, _ = confirmed
    result = cli.run("search", "tiny.yaml", "--study", "again", "--warm-start", "tiny",
                            "--set", "budget.trials=1")  # fmt: skip
    assert result.code == 0, result.err
    trials = cli.run("trials", "again", "--json").document
    origins = [t["origin"] for t in trials if t["origin"] != "isolated"]  # as the host was busy
    assert origins == ["baseline", *["imported"] * 3]
    assert "from study tiny, trial 1" in cli.run("show", "again", "1").out


def test_warm_start_from_another_task_is_an_error(confirmed: Searched) -> None:
    cli, _ = confirmed
    result = cli.run("search", "tiny.yaml", "--study", "other", "--warm-start", "tiny",
                            "--set", "task.max_length=16")  # fmt: skip
    assert result.code == 2
    assert "task.max_length is 16 here, 32 there" in result.err
    assert "other" not in cli.run("studies").out


def test_data_without_a_test_split_is_reported(cli: CommandLine) -> None:
    few = (cli.path / "train.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    (cli.path / "few.jsonl").write_text("\n".join(few), encoding="utf-8")
    files = "task.dataset={train: few.jsonl, validation: validation.jsonl}"
    result = cli.run("search", "tiny.yaml", *CONFIRM, "--set", files,
                       "--set", "budget.trials=4")  # fmt: skip
    assert result.code == 2
    assert "no test split" in result.err
    assert "task.dataset.test: FILE" in result.err
