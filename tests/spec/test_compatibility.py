"""When a study can be continued with a changed study file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.domain import ForbiddenClause, Study
from autotune.spec import incompatibilities, load
from tests.spec.hosts import CPU, GPU

TEXT = """\
study: s
task: {epochs: 1}
objectives: [accuracy, cost_usd]
constraints: [accuracy >= 0.5]
space:
  batch_size: [8, 16]
  learning_rate: {low: 1e-5, high: 1e-4}
  pruning_ratio: [0, 0.5]
"""


def study(*overrides: str) -> Study:
    return load(TEXT, host=CPU, overrides=overrides).study


COMPATIBLE = [
    "budget.trials=50",
    "limits.minutes=1",
    "executor.workers=2",
    "sampler=nsga2",
    "constraints=[accuracy >= 0.7]",
    "space.batch_size=[8, 16, 32]",
    "space.batch_size={low: 4, high: 64}",
    "space.learning_rate={low: 1e-6, high: 1e-3, log: true}",
    "space.padding=[fixed, dynamic]",
    "start_with=[{batch_size: 16}]",
    "confirm={top: 2}",
    "stop_when=no hypervolume gain in 5 trials",
    "warm_start=other",
    "prices.gpus.H100=9",
]


@pytest.mark.parametrize("override", COMPATIBLE)
def test_compatible_changes(override: str) -> None:
    assert incompatibilities(study(), study(override)) == []


INCOMPATIBLE = [
    ("task.max_length=64", "task.max_length was 128, now 64"),
    ("task.dataset.train=a.csv", "task.dataset was builtin:docstrings, now {'train': 'a.csv'}"),
    ("objectives=[accuracy]", "objectives was maximize accuracy, minimize cost_usd, now maximize"),
    (
        "constraints=[f1 >= 0.5]",
        "the constraint 'f1 >= 0.5' is on a metric that was not evaluated before",
    ),
    ("space.batch_size=[8]", "space.batch_size no longer contains all settings that were searched"),
    ("space.learning_rate=[1e-5, 1e-4]", "space.learning_rate no longer contains"),
    ("space={batch_size: [8, 16]}", "space.learning_rate is no longer searched"),
    ("space.pruning_ratio={values: [0, 0.5], when: batch_size > 8}", "condition of"),
    ("rules=[batch_size > 8 and pruning_ratio > 0]", "the rule 'batch_size > 8"),
    ("prices.cpu_core=1", "prices.cpu_core was 0.04, now 1.0"),
    ("prices.nodes.a10=2", "prices.nodes.a10 was None, now 2.0"),
]


@pytest.mark.parametrize(("override", "sentence"), INCOMPATIBLE)
def test_incompatible_changes(override: str, sentence: str) -> None:
    differences = incompatibilities(study(), study(override))
    assert any(sentence in text for text in differences), differences


def test_the_default_of_another_host_is_a_difference() -> None:
    elsewhere = load(TEXT, host=GPU).study
    differences = incompatibilities(study(), elsewhere)
    assert "the default of device was cpu, now cuda:0" in differences


def test_prices_can_change_if_no_metric_depends_on_them() -> None:
    text = TEXT.replace(", cost_usd", "")
    dear = load(text, host=CPU, overrides=["prices.cpu_core=1"]).study
    assert incompatibilities(load(text, host=CPU).study, dear) == []


def test_a_new_rule_about_levers_that_are_not_searched_is_compatible() -> None:
    """A later version can have further built-in rules."""
    old = study()
    rules = (
        *old.space.rules,
        ForbiddenClause("loader_workers > 0 and offload == parameters", "it is late"),
    )
    assert incompatibilities(old, replace(old, space=replace(old.space, rules=rules))) == []


def test_a_new_rule_about_a_setting_that_was_not_searched_is_compatible() -> None:
    """A later version can offer further settings of a lever, with rules about these."""
    old = study()
    for size, problems in ((32, 0), (16, 1)):
        rule = ForbiddenClause(f"batch_size == {size} and pruning_ratio > 0", "it is late")
        new = replace(old, space=replace(old.space, rules=(*old.space.rules, rule)))
        assert len(incompatibilities(old, new)) == problems


def test_a_study_of_before_a_lever_goes_on() -> None:
    """New levers and their rules say nothing about strategies that do not have them."""
    new = study()
    later = ("adapter", "layer_decay", "runtime", "quantization")
    defaults = {name: value for name, value in new.space.defaults.items() if name not in later}
    rules = tuple(r for r in new.space.rules if not any(name in r.excludes for name in later))
    assert len(rules) < len(new.space.rules)
    old = replace(new, space=replace(new.space, defaults=defaults, rules=rules))
    assert incompatibilities(old, new) == []
    pruned = ForbiddenClause("adapter == none and pruning_ratio > 0", "a rule for all of them")
    stricter = replace(new, space=replace(new.space, rules=(*new.space.rules, pruned)))
    assert incompatibilities(old, stricter) == [f"the rule '{pruned.excludes}' is new"]


def test_a_model_that_was_edited_is_another_task() -> None:
    before = replace(study(), model_digests={"m": "1", "removed": "1"})
    after = replace(study(), model_digests={"m": "2", "added": "1"})
    assert incompatibilities(before, after) == ["the content of model m was 1, now 2"]
    assert incompatibilities(study(), after) == []
