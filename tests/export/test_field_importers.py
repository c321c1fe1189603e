"""``import`` of files that are damaged, hostile, or as Trainer writes them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune import spec
from autotune.errors import UsageError
from autotune.export.accelerate import launch_config
from autotune.export.deepspeed import ds_config
from autotune.export.hf_trainer import training_arguments
from autotune.importers.study import read_configuration, study_file
from tests.export import samples

BREAKS = ("\n", "\r", "\x85", "\u2028", "\u2029", "\x1b[2J", "\ud83d", "\x00")


def read_json(tmp_path: Path, document: Any) -> Any:
    path = tmp_path / "args.json"
    path.write_text(json.dumps(document))
    return read_configuration(path)


@pytest.mark.parametrize("separator", BREAKS)
def test_field_values_cannot_become_keys_of_the_study(separator: str, tmp_path: Path) -> None:
    injected = f"zz{separator}executor: {{kind: ray}}{separator}storage: sqlite:///x.db"
    imported = read_json(tmp_path, {"output_dir": "x", "optim": injected, f"{injected}": 1})
    text = study_file(imported, "mine")
    assert len(imported.skipped) == 2
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    study = spec.load(path, host=samples.HOST).study
    assert study.executor.kind == "local"
    comments = text.partition("# A study")[0].splitlines()
    assert all(line.startswith("#") or not line for line in comments)


def test_field_aliases_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["distributed_type: NO", "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"bomb\.yaml:3:10: .*instead of \*"):
        read_configuration(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"output_dir": ' + "[" * 100_000, "nested too deep"),
        ("a.yaml", "output_dir: " + "[" * 1000, "nested too deep"),
        ("a.json", '{"output_dir": 1, "learning_rate": 1e999}', "learning_rate is inf"),
        ("a.json", '{"output_dir": 1, "learning_rate": NaN}', "learning_rate is nan"),
        ("a.json", '{"output_dir": 1, "seed": 1' + "0" * 5000 + "}", "cannot be parsed"),
        ("a.json", '{"output_dir": 1, "max_steps": "many"}', "max_steps is 'many', not a whole"),
        ("a.json", '{"output_dir": 1, "per_device_train_batch_size": 0}', "not a number from 1"),
        ("a.json", '{"train_batch_size": Infinity}', "train_batch_size is inf"),
        ("a.json", '{"train_batch_size": 8, "fp16": 3}', "fp16 is 3, not a mapping"),
        ("a.yaml", "distributed_type: NO\ndynamo_config: 3", "dynamo_config is 3, not a mapping"),
        ("a.yaml", "2: 1\ndistributed_type: NO\n? [1]\n: 2", "unhashable"),
        ("a.yaml", "output_dir: !!python/object:os.system x", "could not determine"),
        ("a.json", "\x00", "cannot be parsed"),
        ("a.json", '"' + "x" * 2_000_000 + '"', "longer than"),
    ],
)
def test_field_damaged_files_are_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        read_configuration(tmp_path / name)
    assert name in caught.value.message and message in caught.value.message
    assert len(caught.value.message) < 600


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, float("inf"), float("nan"), 10**30, "", "x", "\ud83d", "²", [], [[]],
    {}, {"a": []}, {"enabled": True},
)  # fmt: skip


def mutations(document: Any, rng: random.Random) -> Iterator[Any]:
    """Copies of ``document`` in which one value is odd."""
    for key in document:
        for odd in rng.sample(ODD, 6):
            yield {**document, key: odd}
        if isinstance(document[key], dict):
            yield from ({**document, key: inner} for inner in mutations(document[key], rng))


@pytest.mark.parametrize("kind", ["trainer", "accelerate", "deepspeed"])
def test_field_odd_values_are_read_or_named(kind: str, tmp_path: Path) -> None:
    trial = samples.trial(
        device="cuda:0", parallelism="ddp:2", micro_batch_size=4, precision="bf16"
    )
    document = {
        "trainer": training_arguments(samples.study(), trial, 80),
        "accelerate": {**launch_config(trial.strategy), "fsdp_config": {"fsdp_version": 2}},
        "deepspeed": {**ds_config(trial.strategy), "zero_optimization": {"stage": 1}},
    }[kind]
    for odd in mutations(document, random.Random(0)):
        try:
            text = study_file(read_json(tmp_path, odd), "mine")
        except UsageError as error:
            assert "args.json" in error.message
        else:
            assert isinstance(yaml.safe_load(text.encode("utf-8")), dict)


USUAL = {
    "output_dir": "x", "per_device_train_batch_size": 16, "num_train_epochs": 3, "max_steps": -1,
    "learning_rate": 2e-05, "lr_scheduler_type": "linear", "warmup_steps": 100,
    "optim": "adamw_torch_fused", "weight_decay": 0.01, "adam_beta1": 0.9, "adam_epsilon": 1e-08,
    "average_tokens_across_devices": True, "max_grad_norm": 1.0, "label_smoothing_factor": 0.1,
    "logging_strategy": "steps", "logging_steps": 500, "log_level": "passive", "report_to": [],
    "project": "huggingface", "eval_strategy": "epoch", "per_device_eval_batch_size": 8,
    "include_num_input_tokens_seen": "no", "save_strategy": "epoch", "save_steps": 500,
    "hub_token": "<HUB_TOKEN>", "hub_strategy": "every_save", "load_best_model_at_end": True,
    "metric_for_best_model": "accuracy", "greater_is_better": True, "seed": 42,
    "accelerator_config": {
        "split_batches": False, "dispatch_batches": None, "even_batches": True,
        "use_seedable_sampler": True, "non_blocking": False, "gradient_accumulation_kwargs": None,
    },
    "dataloader_in_order": True, "length_column_name": "length", "ddp_timeout": 1800, "debug": [],
    "skip_memory_metrics": True, "do_eval": True, "local_rank": -1,
}  # fmt: skip


def test_field_defaults_are_not_reported(tmp_path: Path) -> None:
    """As ``TrainingArguments.to_dict`` writes a usual recipe."""
    imported = read_json(tmp_path, USUAL)
    assert list(imported.skipped) == ["warmup_steps"]
    assert imported.task["evaluate_every"] == "1 epoch"
    assert imported.task["best_metric"] == "accuracy"
    assert imported.skipped["warmup_steps"].startswith("is 100 steps; set the lever warmup_ratio")
    assert imported.levers["weight_decay"] == 0.01
    assert imported.levers["label_smoothing"] == 0.1
    of_steps = read_json(tmp_path, {**USUAL, "max_steps": 1000})
    assert of_steps.levers["warmup_ratio"] == 0.1 and "warmup_steps" not in of_steps.skipped


def test_field_the_study_file_says_when_the_recipe_runs(tmp_path: Path) -> None:
    text = study_file(read_json(tmp_path, USUAL), "mine")
    assert re.search(r"# The imported strategy\. It runs second.*\nstart_with:\n", text)
