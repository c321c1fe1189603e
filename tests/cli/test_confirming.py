"""A front confirmed, and a second study begun with the first, from the command line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Desk, make_desk

CONFIRM = ("--set", "confirm={top: 1, seeds: 2}")


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = make_desk(tmp_path_factory.mktemp("confirmed"))
    result = desk.type("search", "tiny.yaml", "--set", "budget.trials=6", *CONFIRM)
    assert result.code == 0, result.err
    assert "test split" in result.out
    return desk


def test_finalists_are_judged_on_the_test_split(confirmed: Desk) -> None:
    trials = confirmed.type("trials", "tiny", "--json").document
    assert [t["origin"] for t in trials] == ["baseline", *["sampler"] * 3, "confirm", "confirm"]
    assert [t["seed"] for t in trials] == [1, 1, 1, 1, 2, 3]
    (point,) = [p for p in confirmed.type("pareto", "tiny", "--json").document["front"]
                if p["confirmed"]]  # fmt: skip
    assert point["confirming"] == [4, 5]
    assert point["test"]["accuracy"]["runs"] == 2
    low, high = point["test"]["accuracy"]["ci95"]
    assert low < point["test"]["accuracy"]["value"] < high
    assert point["estimates"]["train_samples_per_second"]["runs"] == 3
    assert 0 < point["probability"] <= 1


def test_the_front_and_the_trial_show_the_runs(confirmed: Desk) -> None:
    shown = confirmed.type("pareto", "tiny").out
    assert "P(front)" in shown and "2 runs" in shown and "test" in shown
    number = confirmed.type("pareto", "tiny", "--json").document["front"]
    knee = next(p["number"] for p in number if p["confirmed"])
    beside = confirmed.type("show", "tiny", str(knee)).out
    assert "Run again whole, with other seeds" in beside
    assert "mean" in beside
    assert f"Confirms trial {knee}: seed 2" in confirmed.type("show", "tiny", "4").out


def test_a_study_begins_with_another(confirmed: Desk) -> None:
    result = confirmed.type("search", "tiny.yaml", "--study", "again", "--warm-start", "tiny",
                            "--set", "budget.trials=1")  # fmt: skip
    assert result.code == 0, result.err
    trials = confirmed.type("trials", "again", "--json").document
    assert [t["origin"] for t in trials] == ["baseline", *["imported"] * 3]
    assert "from study tiny, trial 1" in confirmed.type("show", "again", "1").out


def test_a_study_of_another_task_is_no_beginning(confirmed: Desk) -> None:
    result = confirmed.type("search", "tiny.yaml", "--study", "other", "--warm-start", "tiny",
                            "--set", "task.max_length=16")  # fmt: skip
    assert result.code == 2
    assert "task.max_length is 16 here, 32 there" in result.err
    assert "other" not in confirmed.type("studies").out


def test_data_that_spares_no_test_split_says_what_to_do(desk: Desk) -> None:
    few = (desk.path / "train.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    (desk.path / "few.jsonl").write_text("\n".join(few), encoding="utf-8")
    files = "task.dataset={train: few.jsonl, validation: validation.jsonl}"
    result = desk.type("search", "tiny.yaml", *CONFIRM, "--set", files,
                       "--set", "budget.trials=4")  # fmt: skip
    assert result.code == 2
    assert "no test split" in result.err
    assert "task.dataset.test: FILE" in result.err
