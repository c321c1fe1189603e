"""How a study file is resolved on a host."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from autotune.domain import (
    Budget,
    Categorical,
    Columns,
    Confirmation,
    Constraint,
    Device,
    Host,
    Objective,
    Range,
    Task,
)
from autotune.domain import search_space as spaces
from autotune.errors import SpecError, UsageError
from autotune.levers import LEVERS
from autotune.spec import DEFAULT_TRIALS, ResolvedStudy, load, starter
from autotune.spec.overrides import read_overrides, write_overrides
from tests.spec.hosts import CPU, GPU, MAC


def study(
    space: str, *more: str, host: Host = CPU, overrides: tuple[str, ...] = ()
) -> ResolvedStudy:
    text = "\n".join(["study: s", "objectives: [accuracy]", f"space: {{{space}}}", *more, ""])
    return load(text, host=host, overrides=overrides)


def domain(loaded: ResolvedStudy, lever: str) -> Categorical | Range:
    return next(d.domain for d in loaded.study.space.dimensions if d.lever == lever)


def test_dimensions_are_in_registry_order() -> None:
    loaded = study("epochs: [1, 2], padding: auto, device: auto, batch_size: [8]")
    names = spaces.levers(loaded.study.space)
    assert names == tuple(n for n in LEVERS if n in names)
    assert set(names) == {"device", "batch_size", "padding", "epochs"}


@pytest.mark.parametrize(
    ("space", "lever", "expected"),
    [
        ("batch_size: [8.0, 16]", "batch_size", Categorical((8, 16))),
        ("epochs: [1, 2.5]", "epochs", Categorical((1.0, 2.5))),
        ("learning_rate: 1e-5", "learning_rate", Categorical((1e-5,))),
        ("micro_batch_size: [full, 4]", "micro_batch_size", Categorical(("full", 4))),
        ("compile: [false, true]", "compile", Categorical((False, True))),
        ("batch_size: {low: 8, high: 64, step: 8}", "batch_size", Range(8, 64, 8, integer=True)),
        ("pruning_ratio: {low: 0, high: 0.8, step: 0.25}", "pruning_ratio", Range(0, 0.75, 0.25)),
        (
            "learning_rate: {low: 1e-5, high: 1e-3, log: true}",
            "learning_rate",
            Range(1e-5, 1e-3, log=True),
        ),
        ("dropout: {values: [model, 0]}", "dropout", Categorical(("model", 0.0))),
        ("threads: auto", "threads", Categorical((1, 2))),
        ("precision: auto", "precision", Categorical(("fp32", "bf16", "bf16-pure"))),
    ],
)
def test_the_forms_of_a_lever(space: str, lever: str, expected: Categorical | Range) -> None:
    resolved = domain(study(space), lever)
    assert resolved == expected
    if isinstance(resolved, Categorical) and isinstance(expected, Categorical):
        assert [type(v) for v in resolved.values] == [type(v) for v in expected.values]


def test_auto_is_what_the_host_can_run() -> None:
    assert domain(study("device: auto", host=GPU), "device") == Categorical(("cpu", "cuda:0"))
    assert domain(study("device: auto", host=MAC), "device") == Categorical(("cpu", "mps"))
    assert domain(study("precision: auto", host=MAC), "precision") == Categorical(("fp32",))
    assert study("device: auto").skipped == ()


def test_settings_that_the_host_cannot_run_are_skipped_with_a_reason() -> None:
    loaded = study("threads: [1, 2, 8], device: [cpu, cuda:0]")
    assert domain(loaded, "threads") == Categorical((1, 2))
    assert domain(loaded, "device") == Categorical(("cpu",))
    assert [(n.lever, n.value) for n in loaded.skipped] == [("device", "cuda:0"), ("threads", "8")]
    assert "2 cores" in loaded.skipped[1].reason


def test_a_range_is_restricted_to_what_the_host_can_run() -> None:
    loaded = study("threads: {low: 1, high: 8}")
    assert domain(loaded, "threads") == Categorical((1, 2))
    assert loaded.skipped[0].value == "3 to 8"


def test_a_fixed_lever_does_not_change_the_baseline() -> None:
    loaded = study("batch_size: 32, pruning_ratio: 0.5").study
    assert loaded.baseline["batch_size"] == 8
    assert loaded.baseline["pruning_ratio"] == 0.0
    assert all(s["batch_size"] == 32 for s in spaces.grid(loaded.space))


def test_conditions_of_file_and_registry_are_joined() -> None:
    loaded = study("pruning_ratio: [0, 0.5], pruning_method: {values: auto, when: batch_size >= 8}")
    when = loaded.study.space.dimensions[-1].when
    assert when == "(pruning_ratio > 0) and (batch_size >= 8)"


def test_a_lever_that_has_no_effect_on_this_host_is_skipped() -> None:
    text = "device: auto, compile: {values: [false, true], when: device == cuda}"
    assert spaces.levers(study(text).study.space) == ("device",)
    assert study(text).skipped[0].lever == "compile"
    assert "compile" in spaces.levers(study(text, host=GPU).study.space)


def test_a_condition_on_a_number_within_a_continuous_range_can_hold() -> None:
    loaded = study(
        "pruning_ratio: {low: 0, high: 0.9}, "
        "freeze_layers: {values: [0, 1], when: pruning_ratio == 0.123}"
    )
    assert "freeze_layers" in spaces.levers(loaded.study.space)


def test_task_epochs_are_the_default_of_the_lever() -> None:
    loaded = study("batch_size: [8, 16]", "task: {epochs: 3}").study
    assert loaded.baseline["epochs"] == 3.0
    assert loaded.task.epochs == 3.0


def test_all_keys_of_a_task() -> None:
    task = """\
task:
  model: google-bert/bert-base-uncased
  dataset: {train: a.jsonl, validation: b.jsonl}
  columns: {text: question, text_pair: sentence, label: gold}
  steps: 100
  max_length: 96
  seed: 7
  train_samples: 10
"""
    assert study("batch_size: 8", task).study.task == Task(
        model="google-bert/bert-base-uncased",
        dataset={"train": "a.jsonl", "validation": "b.jsonl"},
        columns=Columns("question", "sentence", "gold"),
        steps=100,
        max_length=96,
        seed=7,
        train_samples=10,
    )


@pytest.mark.parametrize(
    ("task", "every", "metric"),
    [
        ("evaluate_every: 50", 50, "accuracy"),
        ("evaluate_every: 0.25", "0.25 epochs", "accuracy"),
        ("evaluate_every: 1 epoch, best_metric: loss", "1 epoch", "loss"),
        ("epochs: 2", None, None),
    ],
)
def test_evaluations_of_a_task(task: str, every: int | str | None, metric: str | None) -> None:
    loaded = study("batch_size: [8, 16]", f"task: {{{task}}}").study
    assert (loaded.task.evaluate_every, loaded.task.best_metric) == (every, metric)


def test_objectives_default_to_the_direction_of_their_metric() -> None:
    loaded = load(
        "study: s\nobjectives: [accuracy, {metric: loss}, {metric: f1, direction: minimize}]\n"
        "space: {batch_size: 8}\n",
        host=CPU,
    )
    assert loaded.study.objectives == (
        Objective("accuracy", "maximize"),
        Objective("loss", "minimize"),
        Objective("f1", "minimize"),
    )


def test_constraints() -> None:
    text = "constraints: [accuracy >= baseline - 0.01, loss<baseline, peak_memory_gib <= 8]"
    constraints = study("batch_size: 8", text).study.constraints
    assert [str(c) for c in constraints] == [
        "accuracy >= baseline - 0.01",
        "loss < baseline + 0",
        "peak_memory_gib <= 8",
    ]


def test_energy_needs_counters_of_every_device_used() -> None:
    energy = "constraints: [energy_wh <= 3]"
    assert study("device: cuda:0", energy, host=GPU).study.constraints
    with pytest.raises(SpecError, match="also runs on cpu"):
        study("device: auto", energy, host=GPU)


def test_cost_needs_a_price() -> None:
    cost = "constraints: [cost_usd <= 3]"
    assert study("device: auto", cost, host=GPU).study.prices.gpus["H200"] > 0
    rare = replace(GPU, devices=(GPU.devices[0], Device("cuda:0", "cuda", "Matrox G9")))
    for money in (cost, "budget: {usd: 1}"):
        with pytest.raises(SpecError, match=r"needs a price for Matrox G9; set prices\.gpus"):
            study("device: auto", money, host=rare)
        assert study("device: auto", money, "prices: {gpus: {matrox: 0.1}}", host=rare)


def test_prices_of_the_file_override_the_defaults() -> None:
    prices = study("batch_size: 8", "prices: {cpu_core: 0.1, gpus: {h100: 9}}").study.prices
    assert prices.cpu_core == 0.1
    assert prices.gpus["h100"] == 9.0
    assert "H100" not in prices.gpus


def test_stop_when_and_confirm() -> None:
    text = "stop_when: no hypervolume gain in 12 trials\nconfirm: {top: 3, seeds: 2}"
    both = study("batch_size: 8", text).study
    assert both.budget == Budget(patience=12), "no default number of trials is added"
    assert both.confirm == Confirmation(3, 2)
    once = study("batch_size: 8", "stop_when: no hypervolume gain in 1 trial\nconfirm: {top: 2}")
    assert (once.study.budget.patience, once.study.confirm) == (1, Confirmation(2))
    assert study("batch_size: 8").study.confirm is None


def test_warm_start() -> None:
    assert study("batch_size: 8", "warm_start: other").study.warm_start == "other"


def test_a_study_without_a_budget_has_a_default_budget() -> None:
    assert study("batch_size: 8").study.budget == Budget(trials=DEFAULT_TRIALS)
    assert study("batch_size: 8", "budget: {minutes: 3}").study.budget == Budget(minutes=3)
    assert study("batch_size: 8", "budget:").study.budget == Budget(trials=DEFAULT_TRIALS)


def test_a_goal_replaces_objectives_constraints_and_confirmation() -> None:
    text = (
        "study: s\nspace: {batch_size: [8, 16]}\n"
        "goal: {require: [accuracy >= baseline - 0.01], maximize: train_samples_per_second}\n"
    )
    more = "objectives: [loss]\nconstraints: [peak_memory_gib <= 8]\nconfirm: {top: 4}\n"
    for source in (text, text + more):
        loaded = load(source, host=CPU).study
        assert loaded.objectives == (Objective("train_samples_per_second", "maximize"),)
        assert loaded.constraints == (Constraint("accuracy", ">=", -0.01, relative=True),)
        assert loaded.confirm == Confirmation(1, 3) and loaded.has_goal
        assert loaded.reported_metrics == ("train_samples_per_second", "accuracy")
    assert not study("batch_size: [8]").study.has_goal


def test_the_baseline_can_be_the_users() -> None:
    own = "baseline: {learning_rate: 3e-5, batch_size: 16, padding: bucketed}"
    resolved = study("batch_size: [8, 32], precision: fp32", own, "start_with: [{batch_size: 8}]")
    loaded = resolved.study
    assert loaded.baseline["learning_rate"] == 3e-5 and loaded.baseline["batch_size"] == 16
    assert loaded.baseline["optimizer"] == study("batch_size: [8]").study.baseline["optimizer"]
    (first,) = loaded.start_with
    assert first["batch_size"] == 8 and first["padding"] == "bucketed", "it differs from theirs"
    assert loaded.baseline_name == "your baseline"
    assert study("batch_size: [8]").study.baseline_name == "the default"


def test_start_with_can_leave_the_space_and_keeps_fixed_settings() -> None:
    more = "start_with: [{batch_size: 128, optimizer: sgd}]"
    (first,) = study("batch_size: [8, 16], padding: bucketed", more).study.start_with
    assert (first["batch_size"], first["optimizer"], first["padding"]) == (128, "sgd", "bucketed")


def test_short_and_long_forms_of_sampler_and_executor() -> None:
    short = study("batch_size: 8", "sampler: nsga2", "executor: ray").study
    long = study(
        "batch_size: 8",
        "sampler: {kind: nsga2, seed: 4}",
        "executor: {kind: ray, address: auto, workers: 2}",
    ).study
    assert (short.sampler.kind, short.executor.kind) == ("nsga2", "ray")
    assert (long.sampler.seed, long.executor.address, long.executor.workers) == (4, "auto", 2)


def test_the_spec_is_kept_without_the_storage() -> None:
    url = "postgresql+psycopg://u:secret@db/autotune"
    loaded = study("batch_size: [8, 16]", f"storage: {url}", overrides=("task.epochs=2",))
    assert loaded.storage == url
    assert loaded.study.spec == {
        "study": "s",
        "objectives": ["accuracy"],
        "space": {"batch_size": [8, 16]},
        "task": {"epochs": 2},
    }


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("task.dataset.train=a.jsonl", ("task", "dataset"), {"train": "a.jsonl"}),
        ("space.batch_size=[8,32]", ("space", "batch_size"), [8, 32]),
        ("space.batch_size.0=4", ("space", "batch_size"), [4, 16]),
        ("sampler.seed=3", ("sampler",), {"kind": "random", "seed": 3}),
        ("keep.gigabytes=5", ("keep",), {"models": "all", "gigabytes": 5}),
        (
            "objectives.0.direction=minimize",
            ("objectives", 0),
            {"metric": "loss", "direction": "minimize"},
        ),
        ("rules.0.because=slow", ("rules", 0), {"exclude": "batch_size == 8", "because": "slow"}),
        (
            "space.batch_size.when=threads > 0",
            ("space", "batch_size"),
            {"values": [8, 16], "when": "threads > 0"},
        ),
        ("study=other", ("study",), "other"),
        ("learning=1", ("learning",), None),
    ],
)
def test_overrides(override: str, path: tuple[str | int, ...], expected: object) -> None:
    text = "study: s\nobjectives: [loss]\nspace: {batch_size: [8, 16]}\nsampler: random\n"
    text += "task: {dataset: glue/sst2}\nkeep: all\nrules: [batch_size == 8]\n"
    if expected is None:
        with pytest.raises(SpecError, match="unknown key 'learning'"):
            load(text, host=CPU, overrides=[override])
        return
    spec: Any = load(text, host=CPU, overrides=[override]).study.spec
    for part in path:
        spec = spec[part]
    assert spec == expected


def test_overrides_are_written_and_read_back() -> None:
    settings = {"task.labels": ["\U0001f600", "a\u2028b"], "budget.trials": 5, "keep": None}
    assert read_overrides(write_overrides(settings)) == settings
    assert list(read_overrides(["a.b=1", "c=2", "a.b=3"]).items()) == [("c", 2), ("a.b", 3)]
    with pytest.raises(SpecError) as caught:
        read_overrides(["budget.trials", "budget.trials=[5", "keep=all"])
    assert [mistake.line for mistake in caught.value.mistakes] == [1, 2]
    with pytest.raises(UsageError, match="a value that no file can have"):
        write_overrides({"task.seed": object()})


def test_yaml_1_2() -> None:
    text = (
        "study: 'on'\nobjectives: [loss]\nspace: {learning_rate: [1e-5, 1.5E-4, .001]}\n"
        "task: {dataset: no, model: 2024-01-01}\n"
    )
    loaded = load(text, host=CPU)
    assert domain(loaded, "learning_rate") == Categorical((1e-5, 1.5e-4, 1e-3))
    assert (loaded.study.name, loaded.study.task.dataset) == ("on", "no")
    assert loaded.study.task.model == "2024-01-01"


OPTIONAL = re.compile(
    r"^( *)# (columns:|- peak|pruning_method:|rules:|prices:|executor:|  - )",
    re.MULTILINE,
)


def test_the_starter_is_valid_as_it_is_and_with_its_comments_removed() -> None:
    assert load(starter("mine"), host=CPU).study.name == "mine"
    text, count = OPTIONAL.subn(r"\1\2", starter())
    assert count == 7
    study = load(text, host=CPU).study
    assert study.prices.gpus["H100"] == 2.95
    assert [d.when for d in study.space.dimensions if d.lever == "pruning_method"] == [
        "(pruning_ratio > 0) and (pruning_ratio >= 0.5)"
    ]


def test_loading_a_study_imports_no_framework() -> None:
    heavy = "{'torch', 'ray', 'optuna', 'streamlit', 'sqlalchemy'}"
    code = f"import sys, autotune.spec; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
