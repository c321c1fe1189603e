"""``import``: a study that starts with a trainer's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune import spec
from autotune.domain import Device, Host
from autotune.errors import UsageError
from autotune.export.accelerate import launch_config
from autotune.export.deepspeed import BF16_STATES, ds_config
from autotune.export.hf_trainer import training_arguments
from autotune.importers.study import read_configuration, study_file
from tests.export import samples

LEVERS: dict[str, Any] = {
    "batch_size": 32,
    "micro_batch_size": 8,
    "precision": "bf16",
    "learning_rate": 2e-4,
    "optimizer": "adamw",
}

GPUS = Host(
    "made up",
    tuple(range(8)),
    8,
    64.0,
    devices=(samples.CPU, *(Device(f"cuda:{n}", "cuda", "A100", bf16=True) for n in range(4))),
    libc="glibc 2.36",
)


def written(path: Path, document: Any) -> Path:
    text = json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document)
    path.write_text(text)
    return path


def test_exported_training_arguments_are_imported(tmp_path: Path) -> None:
    exported = training_arguments(samples.study(), samples.trial(**LEVERS, epochs=2.0), 80)
    imported = read_configuration(written(tmp_path / "args.json", exported))
    assert imported.levers == {**LEVERS, "device": "cpu"}
    assert imported.task["epochs"] == 2.0
    assert imported.skipped == {}


@pytest.mark.parametrize("evaluations", [
    {"evaluate_every": 3, "best_metric": "loss"},
    {"evaluate_every": "0.5 epochs", "best_metric": "accuracy"},
])  # fmt: skip
def test_exported_evaluations_are_imported(tmp_path: Path, evaluations: dict[str, Any]) -> None:
    study = samples.study(**evaluations)
    exported = training_arguments(study, samples.trial(**LEVERS, epochs=2.0), 80)
    assert exported["load_best_model_at_end"] is True
    assert exported["greater_is_better"] is (evaluations["best_metric"] == "accuracy")
    imported = read_configuration(written(tmp_path / "args.json", exported))
    assert imported.task["best_metric"] == evaluations["best_metric"]
    assert imported.task["evaluate_every"] == exported["eval_steps"]
    assert imported.skipped == {}
    loaded = spec.load(study_file(imported, "own"), host=samples.HOST).study
    assert loaded.task.evaluate_every == exported["eval_steps"] in (2, 3)
    assert loaded.task.best_metric == evaluations["best_metric"]


@pytest.mark.parametrize(
    ("changes", "task", "skipped"),
    [
        ({"eval_strategy": "epoch"}, {"evaluate_every": "1 epoch", "best_metric": "loss"}, []),
        ({"eval_steps": 0.1}, {"evaluate_every": "0.3 epochs", "best_metric": "loss"}, []),
        ({"eval_steps": 0.1, "max_steps": 50}, {"evaluate_every": 5, "best_metric": "loss"}, []),
        ({"logging_steps": 70}, {"evaluate_every": 70, "best_metric": "loss"}, []),
        (
            {"metric_for_best_model": "eval_matthews_correlation", "greater_is_better": True},
            {"evaluate_every": 500, "best_metric": "mcc"},
            [],
        ),
        ({"metric_for_best_model": "bleu"}, {"evaluate_every": 500}, ["metric_for_best_model"]),
        (
            {"metric_for_best_model": "accuracy", "greater_is_better": False},
            {"evaluate_every": 500, "best_metric": "accuracy"},
            ["greater_is_better"],
        ),
        ({"max_steps": 100}, {}, ["load_best_model_at_end"]),
        ({"eval_strategy": "no"}, {}, ["load_best_model_at_end"]),
        ({"load_best_model_at_end": False}, {}, []),
    ],
)
def test_evaluations_of_a_recipe(
    tmp_path: Path, changes: dict[str, Any], task: dict[str, Any], skipped: list[str]
) -> None:
    recipe = {
        "output_dir": "x", "num_train_epochs": 3, "eval_strategy": "steps",
        "load_best_model_at_end": True, **changes,
    }  # fmt: skip
    imported = read_configuration(written(tmp_path / "args.json", recipe))
    evaluations = ("evaluate_every", "best_metric")
    assert {k: v for k, v in imported.task.items() if k in evaluations} == task
    assert list(imported.skipped) == skipped


@pytest.mark.parametrize("scheduler", ["cosine", "constant", "constant-cooldown", "polynomial"])
def test_exported_schedules_are_imported(tmp_path: Path, scheduler: str) -> None:
    levers = {
        "lr_scheduler": scheduler, "warmup_ratio": 0.1, "weight_decay": 0.01, "gradient_clip": 0.0,
        "label_smoothing": 0.1,
    }  # fmt: skip
    study = samples.study(steps=60)
    exported = training_arguments(study, samples.trial(**levers), 80)
    imported = read_configuration(written(tmp_path / "args.json", exported))
    assert levers.items() <= imported.levers.items() and imported.skipped == {}
    without_kwargs = {k: v for k, v in exported.items() if k != "lr_scheduler_kwargs"}
    imported = read_configuration(written(tmp_path / "args.json", without_kwargs))
    has_arguments = "lr_scheduler_kwargs" in exported
    is_line = scheduler == "polynomial"  # with the default power of transformers
    assert ("lr_scheduler_kwargs" in imported.skipped) == (has_arguments and not is_line)


def test_an_adapter_of_peft_is_imported(tmp_path: Path) -> None:
    document = {
        "peft_type": "LORA", "r": 4, "lora_alpha": 32, "target_modules": ["query", "value"],
        "bias": "none", "task_type": "SEQ_CLS", "init_lora_weights": True, "use_rslora": True,
    }  # fmt: skip
    imported = read_configuration(written(tmp_path / "adapter_config.json", document))
    levers = {"adapter": "lora", "adapter_rank": 4, "adapter_alpha": 32}
    assert imported.levers == levers and set(imported.skipped) == {"use_rslora"}
    document = {**document, "use_dora": True, "target_modules": "all-linear"}
    imported = read_configuration(written(tmp_path / "adapter_config.json", document))
    assert imported.levers == {**levers, "adapter": "dora", "adapter_targets": "all"}
    document = {
        "peft_type": "ADALORA", "r": 8, "target_r": 4, "init_r": 6, "lora_alpha": 32, "deltaT": 1,
        "beta1": 0.85, "beta2": 0.85, "orth_reg_weight": 0.5, "tinit": 0, "tfinal": 100,
        "total_step": 1000, "rank_pattern": None, "target_modules": ["query", "value"],
    }  # fmt: skip
    imported = read_configuration(written(tmp_path / "adapter_config.json", document))
    assert imported.levers == {**levers, "adapter": "adalora"}
    assert set(imported.skipped) == {"tfinal"}
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 8}
    imported = read_configuration(written(tmp_path / "adapter_config.json", prefix))
    assert imported.levers == {} and "PREFIX_TUNING" in imported.skipped["peft_type"]


@pytest.mark.parametrize(
    ("targets", "setting", "is_exact"),
    [
        (["query", "value"], "attention", True),
        (["attention.self.query", "self.value"], "attention", True),
        (["q_lin", "v_lin"], "attention", True),
        ("all-linear", "all", True),
        (["query", "key", "value", "dense"], "all", True),
        (["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"], "all", True),
        (["query"], "attention", False),
        (["key"], "attention", False),
        (["query", "key", "value"], "attention", False),
        (["query", "value", "classifier"], "attention", False),
        (["layer.0.attention.self.query", "layer.0.attention.self.value"], "attention", False),
        (["dense"], "all", False),
        (["query", "key", "value", "output.dense"], "all", False),
        (".*(query|value)", "attention", False),
    ],
)
def test_other_targets_of_an_adapter_are_skipped_with_the_nearest_ones(
    tmp_path: Path, targets: Any, setting: str, is_exact: bool
) -> None:
    document = {"peft_type": "LORA", "r": 8, "target_modules": targets}
    imported = read_configuration(written(tmp_path / "adapter_config.json", document))
    assert imported.levers.get("adapter_targets", "attention") == setting
    assert [*imported.skipped] == ([] if is_exact else ["target_modules"])
    assert is_exact or f"{setting} is the nearest" in imported.skipped["target_modules"]


@pytest.mark.parametrize(
    ("targets", "skipped"),
    [
        (["k_lin", "v_lin", "lin2"], []),
        (["key", "value", "output.dense"], ["target_modules"]),  # of the attention too
        (["query", "value"], ["target_modules"]),
    ],
)
def test_other_targets_of_ia3_are_skipped(
    tmp_path: Path, targets: list[str], skipped: list[str]
) -> None:
    document = {"peft_type": "IA3", "target_modules": targets, "feedforward_modules": targets[2:]}
    imported = read_configuration(written(tmp_path / "adapter_config.json", document))
    assert imported.levers == {"adapter": "ia3"} and [*imported.skipped] == skipped


@pytest.mark.parametrize(
    ("options", "skipped"),
    [
        ({"modules_to_save": ["classifier", "score"]}, []),
        ({"modules_to_save": ["embeddings", "classifier"]}, ["modules_to_save"]),
        ({"trainable_token_indices": [1, 2]}, ["trainable_token_indices"]),
        ({"rank_pattern": {"query": 32}}, ["rank_pattern"]),
        ({"rank_pattern": {"query": [True]}, "peft_type": "ADALORA"}, []),
    ],
)
def test_what_an_adapter_trains_besides_is_skipped(
    tmp_path: Path, options: dict[str, Any], skipped: list[str]
) -> None:
    document = {"peft_type": "LORA", "target_modules": ["query", "value"], **options}
    imported = read_configuration(written(tmp_path / "adapter_config.json", document))
    assert [*imported.skipped] == skipped


def test_an_imported_configuration_can_be_the_baseline(tmp_path: Path) -> None:
    exported = training_arguments(samples.study(), samples.trial(**LEVERS, epochs=2.0), 80)
    imported = read_configuration(written(tmp_path / "args.json", exported))
    text = study_file(imported, "own", as_baseline=True)
    assert "Trainer" not in text.partition("study: own")[2] and "default strategy" not in text
    study = spec.load(text, host=samples.HOST).study
    assert imported.levers.items() <= study.baseline.values.items()
    assert study.baseline["epochs"] == 2.0 and study.start_with == ()
    second = spec.load(study_file(imported, "own"), host=samples.HOST).study
    assert second.start_with and second.baseline["learning_rate"] == 5e-5


def test_recorded_graphs_are_imported_as_compilation_with_a_note(tmp_path: Path) -> None:
    """Neither format gives the padding, without which the study file would not be valid."""
    trial = samples.trial(device="cuda:0", padding="fixed", compile="cuda-graphs")
    for document in launch_config(trial.strategy), training_arguments(samples.study(), trial, 80):
        imported = read_configuration(written(tmp_path / "config.json", document))
        assert imported.levers["compile"] is True
        (reason,) = [text for key, text in imported.skipped.items() if "mode" in key]
        assert reason.startswith("set compile: cuda-graphs together with padding: fixed")


def test_an_exported_accelerate_configuration_is_imported(tmp_path: Path) -> None:
    one = samples.trial(precision="bf16", compile=True).strategy
    imported = read_configuration(written(tmp_path / "config.yaml", launch_config(one)))
    assert imported.levers == {"precision": "bf16", "device": "cpu", "compile": True}
    two = samples.trial(device="cuda:0", parallelism="ddp:2").strategy
    imported = read_configuration(written(tmp_path / "config.yaml", launch_config(two)))
    assert imported.levers == {"parallelism": "ddp:2", "threads": 1}
    assert imported.skipped == {}


def test_an_exported_deepspeed_configuration_is_imported(tmp_path: Path) -> None:
    config = ds_config(samples.trial(**{**LEVERS, "optimizer": "adamw-fused"}).strategy)
    imported = read_configuration(written(tmp_path / "ds.json", config))
    assert imported.levers == {**LEVERS, "optimizer": "adamw-fused"}


@pytest.mark.parametrize(
    ("section", "precision"),
    [
        ({}, "bf16"),
        (dict.fromkeys(BF16_STATES, True), "bf16-pure"),
        ({BF16_STATES[0]: True}, "bf16"),
    ],
)
def test_bf16_of_deepspeed_has_weights_in_fp32_too(
    section: dict[str, Any], precision: str, tmp_path: Path
) -> None:
    document = {"train_batch_size": 8, "bf16": {"enabled": True, **section}}
    imported = read_configuration(written(tmp_path / "ds.json", document))
    assert imported.levers["precision"] == precision


@pytest.mark.parametrize(("other", "precision"), [("bf16", "bf16"), ("fp16", "fp16")])
def test_tf32_is_what_is_left_beside_autocast(other: str, precision: str, tmp_path: Path) -> None:
    document = {"output_dir": "x", "per_device_train_batch_size": 8, "tf32": True, other: True}
    imported = read_configuration(written(tmp_path / "args.json", document))
    assert imported.levers["precision"] == precision


def test_settings_without_a_lever_are_skipped(tmp_path: Path) -> None:
    document = {"output_dir": "x", "warmup_steps": 100, "optim": "lomo", "neftune_noise_alpha": 5}
    imported = read_configuration(written(tmp_path / "args.json", document))
    assert set(imported.skipped) == {"warmup_steps", "optim", "neftune_noise_alpha"}
    assert all(f"#   {key}: " in study_file(imported, "mine") for key in imported.skipped)


def test_parameters_of_deepspeeds_optimizer_are_skipped(tmp_path: Path) -> None:
    parameters = {"lr": 3e-5, "weight_decay": 0.01, "betas": [0.8, 0.999], "eps": 1e-8}
    optimizer = {"type": "AdamW", "params": {**parameters, "bias_correction": True}}
    document = {"train_batch_size": 8, "gradient_clipping": 1.0, "optimizer": optimizer}
    imported = read_configuration(written(tmp_path / "ds.json", document))
    assert imported.levers["weight_decay"] == 0.01 and "gradient_clip" not in imported.levers
    named = {"betas", "bias_correction"}
    assert set(imported.skipped) == {f"optimizer.params.{name}" for name in named}
    assert imported.skipped["optimizer.params.betas"].startswith("is [0.8, 0.999]")


def test_keys_of_accelerate_without_a_lever_are_skipped(tmp_path: Path) -> None:
    document = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "num_processes": 2,
        "num_machines": 1,
        "machine_rank": 0,
        "rdzv_backend": "static",
        "same_network": True,
        "tpu_use_sudo": False,
        "downcast_bf16": "no",
        "main_training_function": "main",
        "gpu_ids": "2,3",
        "enable_cpu_affinity": True,
        "dynamo_config": {"dynamo_backend": "INDUCTOR", "dynamo_mode": "max-autotune"},
    }
    imported = read_configuration(written(tmp_path / "config.yaml", document))
    assert set(imported.skipped) == {"gpu_ids", "enable_cpu_affinity", "dynamo_config.dynamo_mode"}


def test_pinned_memory_and_bucket_size_of_training_arguments(tmp_path: Path) -> None:
    document = {"output_dir": "x", "dataloader_pin_memory": False, "ddp_bucket_cap_mb": 100}
    imported = read_configuration(written(tmp_path / "args.json", document))
    assert imported.levers["pinned_memory"] is False
    assert "ddp_bucket_mib: 100" in imported.skipped["ddp_bucket_cap_mb"]
    on_cpu = read_configuration(written(tmp_path / "args.json", {**document, "use_cpu": True}))
    assert "pinned_memory" not in on_cpu.levers  # nothing is copied
    path = tmp_path / "mine.yaml"
    path.write_text(study_file(imported, "mine"))
    assert spec.load(path, host=GPUS).study.start_with[0]["pinned_memory"] is False


@pytest.mark.parametrize(
    "options", [{"group_by_length": True}, {"train_sampling_strategy": "group_by_length"}]
)
def test_grouping_by_length_is_bucketed_padding(options: dict[str, Any], tmp_path: Path) -> None:
    imported = read_configuration(written(tmp_path / "args.json", {"output_dir": "x", **options}))
    assert imported.levers["padding"] == "bucketed"
    assert imported.skipped == {}


def test_an_unsupported_sampling_strategy_is_skipped(tmp_path: Path) -> None:
    document = {"output_dir": "x", "train_sampling_strategy": "sequential"}
    imported = read_configuration(written(tmp_path / "args.json", document))
    assert set(imported.skipped) == {"train_sampling_strategy"}


@pytest.mark.parametrize(
    ("config", "levers"),
    [
        ({}, {}),
        ({"fsdp_sharding_strategy": "FULL_SHARD"}, {}),
        ({"fsdp_sharding_strategy": "SHARD_GRAD_OP"}, {"fsdp_reshard": False}),
        ({"fsdp_version": 2, "fsdp_reshard_after_forward": True}, {}),
        ({"fsdp_version": 2, "fsdp_reshard_after_forward": False}, {"fsdp_reshard": False}),
        ({"fsdp_offload_params": True}, {"offload": "parameters"}),
        ({"fsdp_activation_checkpointing": True}, {"activation_checkpointing": True}),
    ],
)
def test_accelerates_fsdp_is_fsdp(
    config: dict[str, Any], levers: dict[str, Any], tmp_path: Path
) -> None:
    document = {"distributed_type": "FSDP", "num_processes": 4, "fsdp_config": config}
    imported = read_configuration(written(tmp_path / "config.yaml", document))
    assert imported.levers == {"parallelism": "fsdp:4", "threads": 1, **levers}
    assert imported.skipped == {}
    path = tmp_path / "mine.yaml"
    path.write_text(study_file(imported, "mine"))
    assert spec.load(path, host=GPUS).study.start_with[0]["parallelism"] == "fsdp:4"


def test_settings_of_fsdp_without_a_lever_are_skipped(tmp_path: Path) -> None:
    config = {"fsdp_sharding_strategy": "HYBRID_SHARD", "fsdp_use_orig_params": True}
    document = {"distributed_type": "FSDP", "num_processes": 4, "fsdp_config": config}
    imported = read_configuration(written(tmp_path / "config.yaml", document))
    assert set(imported.skipped) == {f"fsdp_config.{key}" for key in config}


def test_deepspeed_through_accelerate_is_skipped(tmp_path: Path) -> None:
    config = {"zero_stage": 3}
    document = {"distributed_type": "DEEPSPEED", "num_processes": 4, "deepspeed_config": config}
    imported = read_configuration(written(tmp_path / "config.yaml", document))
    assert imported.levers == {}
    assert set(imported.skipped) == {"num_processes", "deepspeed_config"}


def test_automatic_values_of_deepspeed_are_not_numbers(tmp_path: Path) -> None:
    document = {
        "train_batch_size": "auto",
        "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
    }
    imported = read_configuration(written(tmp_path / "ds.json", document))
    # Without gradient_clipping DeepSpeed does not clip, unlike Trainer.
    assert imported.levers == {"optimizer": "adamw-fused", "gradient_clip": 0.0}


@pytest.mark.parametrize("length", [{"max_steps": 70}, {"num_train_epochs": 4}])
def test_the_study_file_is_valid_and_starts_there(length: dict[str, int], tmp_path: Path) -> None:
    document = {
        "output_dir": "x",
        "per_device_train_batch_size": 64,
        "learning_rate": 1e-4,
        **length,
    }
    imported = read_configuration(written(tmp_path / "args.json", document))
    path = tmp_path / "mine.yaml"
    path.write_text(study_file(imported, "mine"))
    study = spec.load(path, host=samples.HOST).study
    assert study.name == "mine"
    (first,) = study.start_with
    assert (first["batch_size"], first["learning_rate"]) == (64, 1e-4)
    assert (study.task.steps, study.task.epochs)[:1] == (length.get("max_steps"),)
    assert study.task.epochs == length.get("num_train_epochs", 1.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "{"), ("a.json", "[]"), ("a.json", '{"x": 1}'), ("a.yaml", "a: [")],
)
def test_other_files_are_errors(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        read_configuration(tmp_path / name)
    assert name in caught.value.message


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_configuration(tmp_path / "none.json")


def test_loader_workers_and_offload_are_imported(tmp_path: Path) -> None:
    document = {"output_dir": "x", "dataloader_num_workers": 2, "dataloader_prefetch_factor": 4}
    imported = read_configuration(written(tmp_path / "args.json", document))
    assert (imported.levers["loader_workers"], imported.levers["prefetch"]) == (2, 4)
    zero = {"stage": 3, "offload_param": {"device": "cpu"}, "offload_optimizer": {"device": "cpu"}}
    document = {"train_batch_size": 8, "zero_optimization": zero, "flops_profiler": {"enabled": 1}}
    imported = read_configuration(written(tmp_path / "ds.json", document))
    assert imported.levers["offload"] == "parameters"
    assert set(imported.skipped) == {"zero_optimization", "flops_profiler"}


@pytest.mark.parametrize(
    "document",
    [
        {"output_dir": "x", "per_device_train_batch_size": "eight"},
        {"output_dir": "x", "learning_rate": [1]},
        {"train_batch_size": 8, "optimizer": 3},
        {"distributed_type": "NO", "num_processes": "two"},
    ],
)
def test_values_of_the_wrong_type_are_errors(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.json: a setting has a value of the wrong type"):
        read_configuration(written(tmp_path / "a.json", document))
