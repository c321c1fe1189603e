"""Confirmation of a front and a warm start, from the command line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import CommandLine, make_command_line

CONFIRM = ("--set", "confirm={top: 1, seeds: 1}")


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    cli = make_command_line(tmp_path_factory.mktemp("confirmed"))
    result = cli.run("search", "tiny.yaml", "--set", "budget.trials=6", *CONFIRM)
    assert result.code == 0, result.err
    assert "test split" in result.out
    return cli


def test_finalists_are_evaluated_on_the_test_split(confirmed: CommandLine) -> None:
    trials = confirmed.run("trials", "tiny", "--json").document
    assert [t["origin"] for t in trials] == ["baseline", *["sampler"] * 3, "confirm", "confirm"]
    assert [t["seed"] for t in trials] == [1, 1, 1, 1, 2, 2]
    assert trials[4]["strategy"] == trials[0]["strategy"], "the default first"
    (point,) = [p for p in confirmed.run("pareto", "tiny", "--json").document["front"]
                if p["confirming"] == [5]]  # fmt: skip
    assert point["test"]["accuracy"]["runs"] == 1
    low, high = point["test"]["accuracy"]["ci95"]
    assert low < point["test"]["accuracy"]["value"] < high
    assert point["estimates"]["train_samples_per_second"]["runs"] == 2
    assert 0 < point["probability"] <= 1
    accuracy = point["paired"]["accuracy"]
    assert (accuracy["examples"], accuracy["seeds"], accuracy["by_example"]) == (40, 1, True)
    assert accuracy["value"] == pytest.approx(
        point["test"]["accuracy"]["value"] - accuracy["default"]["value"]
    )


def test_the_front_and_the_trial_show_the_runs(confirmed: CommandLine) -> None:
    front = confirmed.run("pareto", "tiny").out
    assert "P(front)" in front and "2 runs" in front and "test" in front
    points = confirmed.run("pareto", "tiny", "--json").document["front"]
    finalist = next(p["number"] for p in points if p["confirmed"])
    shown = confirmed.run("show", "tiny", str(finalist)).out
    assert "Full training runs repeated with other seeds" in shown
    assert "mean" in shown
    assert f"Confirms trial {finalist}: seed 2" in confirmed.run("show", "tiny", "4").out


def test_study_imports_the_results_of_another(confirmed: CommandLine) -> None:
    result = confirmed.run("search", "tiny.yaml", "--study", "again", "--warm-start", "tiny",
                            "--set", "budget.trials=1")  # fmt: skip
    assert result.code == 0, result.err
    trials = confirmed.run("trials", "again", "--json").document
    assert [t["origin"] for t in trials] == ["baseline", *["imported"] * 3]
    assert "from study tiny, trial 1" in confirmed.run("show", "again", "1").out


def test_warm_start_from_another_task_is_an_error(confirmed: CommandLine) -> None:
    result = confirmed.run("search", "tiny.yaml", "--study", "other", "--warm-start", "tiny",
                            "--set", "task.max_length=16")  # fmt: skip
    assert result.code == 2
    assert "task.max_length is 16 here, 32 there" in result.err
    assert "other" not in confirmed.run("studies").out


def test_data_without_a_test_split_is_reported(cli: CommandLine) -> None:
    few = (cli.path / "train.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    (cli.path / "few.jsonl").write_text("\n".join(few), encoding="utf-8")
    files = "task.dataset={train: few.jsonl, validation: validation.jsonl}"
    result = cli.run("search", "tiny.yaml", *CONFIRM, "--set", files,
                       "--set", "budget.trials=4")  # fmt: skip
    assert result.code == 2
    assert "no test split" in result.err
    assert "task.dataset.test: FILE" in result.err
