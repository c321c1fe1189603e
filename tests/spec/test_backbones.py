"""The levers ``model`` and ``max_length``: each strategy has its task, each model its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotune import spec
from autotune.domain import Strategy, Study, Task, WorkloadProfile
from autotune.domain.search_space import complete, excluded, levers
from autotune.domain.training import task_of
from autotune.errors import SpecError
from autotune.levers import defaults, training_key
from autotune.levers.priors import accuracy_log_odds, typical_learning_rate
from autotune.tuner.feasibility.flops import training_flops
from autotune.tuner.feasibility.memory import memory_footprints
from tests.spec.hosts import CPU
from tests.tuner.feasible_world import MINILM

STRATEGY = Strategy(defaults(CPU))
TINY = Strategy({**STRATEGY.values, "model": "builtin:bert-tiny"})


def load(text: str) -> Study:
    objectives = "objectives: [{metric: train_samples_per_second}]"
    return spec.load(f"study: s\n{objectives}\n{text}", host=CPU).study


def test_backbones_are_searched_and_that_of_the_task_is_named_once() -> None:
    study = load(
        "task: {model: 'builtin:minilm', max_length: 64}\n"
        "space: {model: ['builtin:minilm', 'builtin:bert-tiny'], max_length: [32, 64],"
        " pruning_ratio: [0.0, 0.5]}\n"
        "start_with: [{model: 'builtin:minilm', max_length: 32}]"
    )
    domains = {d.lever: d.domain for d in study.space.dimensions}
    assert domains["model"].values == ("task", "builtin:bert-tiny")  # type: ignore[union-attr]
    assert domains["max_length"].values == (32, "task")  # type: ignore[union-attr]
    assert study.baseline["model"] == "task"
    assert study.start_with[0]["model"] == "task" and study.start_with[0]["max_length"] == 32
    assert list(levers(study.space))[:2] == ["model", "max_length"]


LENGTHS = "task: {max_length: 128}\nspace: {max_length: [64, 128, 256], batch_size: [8, 64]}\n"
MODELS = "space: {model: [task, 'builtin:bert-tiny'], batch_size: [8, 64]}\n"


@pytest.mark.parametrize(
    "text",
    [
        LENGTHS + "rules: ['max_length >= 128 and batch_size >= 64']",
        LENGTHS + "rules: ['batch_size > 8 and 128 <= max_length']",
        LENGTHS + "rules: ['max_length == 128 and batch_size == 64']",
        LENGTHS + "rules: ['max_length in [64, 128] and batch_size == 64']",
        LENGTHS.replace("[8, 64]", "{values: [8, 64], when: max_length > 64}"),
        MODELS + "rules: [\"model == 'builtin:minilm' and batch_size == 64\"]",
        MODELS + "rules: ['model == builtin:minilm and batch_size == 64']",
    ],
)
def test_conditions_write_task_for_settings_of_the_task(text: str) -> None:
    with pytest.raises(SpecError, match=r"write 'task' for the (max_length|model) of the task"):
        load(text)


@pytest.mark.parametrize(
    "text",
    [
        LENGTHS + "rules: ['max_length in [task, 256] and batch_size >= 64']",
        LENGTHS + "rules: ['max_length == 64 and batch_size == 64']",
        MODELS + "rules: [\"model != 'a-model/of-mine' and batch_size == 64\"]",
        MODELS + "rules: [\"model == 'builtin:bert-tiny' and batch_size == 64\"]",
    ],
)
def test_conditions_compare_other_settings(text: str) -> None:
    rule = text.partition("rules: [")[2].strip("'\"]")
    assert rule in [clause.excludes for clause in load(text).space.rules]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("model == task and precison == bf16", "did you mean precision"),
        ("model == google-bert/bert-base-uncased", "names with other signs need quotes"),
    ],
)
def test_misspelt_levers_and_unquoted_hub_names_are_no_models(rule: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(MODELS + f"rules: ['{rule}']")


def test_each_backbone_has_the_task_of_its_own() -> None:
    task = Task(max_length=64)
    assert task_of(task, STRATEGY) is task
    changed = task_of(task, TINY.with_values(max_length=32))
    assert (changed.model, changed.max_length) == ("builtin:bert-tiny", 32)
    assert training_key(TINY) != training_key(STRATEGY)


def test_a_backbone_that_cannot_be_pruned_is_excluded_from_pruning(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "albert"}))
    study = load(
        f"space: {{model: [task, '{tmp_path}'], pruning_ratio: [0.0, 0.5], "
        "adapter: [none, lora], freeze_layers: [0, 1]}"
    )
    for lever, value in (("pruning_ratio", 0.5), ("adapter", "lora"), ("freeze_layers", 1)):
        other = complete(study.space, {"model": str(tmp_path), lever: value})
        rule = excluded(study.space, other)
        assert rule is not None and "albert" in rule.reason
        assert excluded(study.space, other.with_values(model="task")) is None


def test_lengths_of_labelled_tokens_cannot_be_searched() -> None:
    with pytest.raises(SpecError, match="texts that are cut lose labels"):
        load("task: {kind: token-classification}\nspace: {max_length: [32, 64]}")
    own = "task: {kind: token-classification, max_length: 64}\nspace: {batch_size: [8, 16]}\n"
    assert load(f"{own}start_with: [{{max_length: 64, batch_size: 16}}]").start_with
    with pytest.raises(SpecError, match=r"texts that are cut lose labels.*remove max_length"):
        load(f"{own}start_with: [{{max_length: 32}}]")


def test_lengths_of_texts_in_windows_cannot_be_searched() -> None:
    """A shorter window takes less time and has less text."""
    for place in ("space: {max_length: [32, 64]}", "baseline: {max_length: 32}"):
        with pytest.raises(SpecError, match=r"speeds count windows \(task.stride\)"):
            load(f"task: {{stride: 16}}\n{place}")


def test_predictions_are_those_of_the_backbone() -> None:
    tiny = WorkloadProfile(
        **{**vars(MINILM), "layers": 2, "layer_parameters": 200_000, "hidden": 128,
           "intermediate_size": 512, "heads": 2, "embedding_parameters": 4_000_000}
    )  # fmt: skip
    profile = WorkloadProfile(**{**vars(MINILM), "models": {"builtin:bert-tiny": tiny}})
    for function in (training_flops, typical_learning_rate, accuracy_log_odds):
        first, second = (STRATEGY, profile), (TINY, profile)
        if function is training_flops:
            first, second = first[::-1], second[::-1]  # type: ignore[assignment]
        assert function(*first) != function(*second)  # type: ignore[operator]
    assert training_flops(profile, TINY) == training_flops(tiny, STRATEGY)
    peaks = [max(map(sum, memory_footprints(profile, s, "host"))) for s in (STRATEGY, TINY)]
    assert peaks[1] < peaks[0]
    assert accuracy_log_odds(TINY, profile) < accuracy_log_odds(STRATEGY, profile)


def test_a_shorter_limit_cuts_the_samples_of_the_profile() -> None:
    shorter = MINILM.under(STRATEGY.with_values(max_length=20))
    assert shorter.max_length == 20 and shorter.longest <= 20
    assert MINILM.under(STRATEGY) is MINILM
    longer = WorkloadProfile(**{**vars(MINILM), "task_length": 24})
    assert longer.under(STRATEGY).max_length == 24
    assert longer.under(STRATEGY.with_values(max_length=40)).max_length == 40
    again = longer.under(STRATEGY)
    assert again.under(STRATEGY) == again


def test_only_cross_entropy_has_labels_to_smooth() -> None:
    assert load("space: {label_smoothing: [0.0, 0.1]}").space.dimensions
    with pytest.raises(SpecError, match="no labels to smooth"):
        load("task: {kind: regression}\nspace: {label_smoothing: [0.0, 0.1]}")
