"""Every format sets every lever, or refuses it with a reason."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune.components import EXPORT_FORMATS
from autotune.domain import Categorical, Range, Strategy, Trial, Value
from autotune.errors import UsageError
from autotune.export import exporter, vendoring
from autotune.export.arguments import accumulation_steps, micro_batch_size, num_replicas
from autotune.export.base import ScriptFormat
from autotune.export.levers import unsupported_levers
from autotune.levers import LEVERS, Lever
from tests.export import samples

SCRIPTS = {name: fmt for name in EXPORT_FORMATS if isinstance(fmt := exporter(name), ScriptFormat)}
NAMED_INSTEAD: dict[tuple[str, Value], str] = {
    ("lightning", "fp16"): "optimizer",  # which is a fused one
    ("micro_batch_size", 3): "batch_size",  # which is 16
}
"""Levers that an error names instead of the lever that was set, by format or lever, and value."""

INDIRECT_READS = {"split_gpus": "required_resources(strategy).devices"}
"""Code that reads a lever whose name is not in the script."""

EXTRA_VALUES: dict[str, Value] = {
    "device": "cuda:1",
    "parallelism": "ddp:4",
    "threads": 3,
    "dropout": 0.25,
}


def other_values(lever: Lever) -> list[Value]:
    """Legal settings other than the default: all of a list, some of a range or a pattern."""
    default, domain = lever.default_on(samples.HOST), lever.domain
    values: list[Value] = [EXTRA_VALUES[lever.name]] if lever.name in EXTRA_VALUES else []
    if isinstance(domain, Categorical):
        values += domain.values
    elif isinstance(domain, Range):
        low = int(domain.low)
        values += [low + 1, low + 2] if domain.integer else [domain.high]
    else:
        values += domain.example.split(", ")
    return [v for v in (*values, *lever.named_values) if v != default and lever.is_legal(v)]


SETTINGS = [
    pytest.param(lever.name, value, id=f"{lever.name}={value}")
    for lever in LEVERS.values()
    for value in other_values(lever)
]


def config(name: str, **levers: Any) -> dict[str, Any]:
    """The trainer's own configuration, parsed."""
    files = SCRIPTS[name].config(samples.study(), samples.trial(**levers), 80)
    (text,) = files.values()
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("lever", "value"), SETTINGS)
def test_each_setting_is_exported_or_refused(name: str, lever: str, value: Value) -> None:
    script = SCRIPTS[name]
    strategy = trial_with(lever, value).strategy
    try:
        missing = unsupported_levers(
            name, strategy, script.locations, script.unsupported, allowed=False
        )
    except UsageError as error:
        named = NAMED_INSTEAD.get((name, value), NAMED_INSTEAD.get((lever, value), lever))
        assert f"{named} = {strategy[named]}" in error.message
    else:
        assert lever in script.locations
        assert not missing
        assert is_applied(script, lever, value)


def trial_with(lever: str, value: Value) -> Trial:
    """A trial that sets one lever, with a batch size at which all levers matter."""
    levers: dict[str, Any] = {"batch_size": 16, lever: value}
    return samples.trial(**levers)


def is_applied(script: ScriptFormat, lever: str, value: Value) -> bool:
    """Whether the trainer's config or the command changes, or the script reads the lever."""
    outputs = [
        (script.config(samples.study(), trial, 80), script.command(trial.strategy))
        for trial in (samples.trial(batch_size=16), trial_with(lever, value))
    ]
    return outputs[0] != outputs[1] or INDIRECT_READS.get(lever, f'"{lever}"') in code(
        script.template
    )


@cache
def code(template: str) -> str:
    """The code of an exported folder, without the records of levers, which name them all."""
    files = vendoring.script(template, "1.0")
    return "".join(text for path, text in files.items() if not path.startswith("tuned/levers/"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_readme_names_existing_files(name: str) -> None:
    files = vendoring.script(SCRIPTS[name].template, "1.0")
    for lever, where in SCRIPTS[name].locations.items():
        for path in re.findall(r"tuned/[a-z_/]+(?:\.py)?", where):
            assert any(file.startswith(path) for file in files), (lever, path)
            if path.endswith(".py"):
                reads = f'"{lever}"' in files[path] or f'"{lever}"' in code(SCRIPTS[name].template)
                assert reads, (lever, path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_unknown_lever_stops_the_export(name: str) -> None:
    strategy = Strategy({**samples.trial().strategy.values, "sparkle": 3})
    script = SCRIPTS[name]
    with pytest.raises(UsageError, match="sparkle = 3"):
        unsupported_levers(name, strategy, script.locations, script.unsupported, allowed=False)
    missing = unsupported_levers(name, strategy, script.locations, script.unsupported, allowed=True)
    assert set(missing) == {"sparkle"}


def test_who_distils_exports_the_trained_model() -> None:
    strategy = samples.trial(distillation=0.5).strategy
    with pytest.raises(UsageError, match="the teacher is not part of a script") as caught:
        unsupported_levers("hf-trainer", strategy, {}, lambda strategy: {}, allowed=False)
    assert "--to model" in str(caught.value.hint)


def test_a_partial_export_lists_what_is_left_out(tmp_path: Path) -> None:
    study = samples.study(samples.write_data(tmp_path))
    on_mps = samples.trial(device="mps")
    with pytest.raises(UsageError, match="device = mps"):
        exporter("ray-train").export(study, on_mps, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    exporter("ray-train", allow_partial=True).export(study, on_mps, tmp_path / "out")
    document = json.loads((tmp_path / "out/strategy.json").read_text())
    assert "device" in document["left_out"]
    assert "LEFT OUT" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("name", ["hf-trainer", "accelerate", "deepspeed"])
@pytest.mark.parametrize(
    ("batch", "micro", "parallelism", "unit"),
    [
        (24, 8, "ddp:2", 16),
        (8, "full", "ddp:3", 3),
        (2, "full", "ddp:4", 4),
        (16, 3, "none", 3),
        (24, 16, "none", 16),
        (24, 16, "ddp:2", None),
        (24, 4, "ddp:2", None),
        (24, 64, "none", None),
    ],
)
def test_a_batch_size_that_would_change_is_refused(
    name: str, batch: int, micro: Value, parallelism: str, unit: int | None
) -> None:
    levers: dict[str, Any] = {
        "batch_size": batch,
        "micro_batch_size": micro,
        "parallelism": parallelism,
    }
    strategy = samples.trial(device="cuda:0", **levers).strategy
    reasons = SCRIPTS[name].unsupported(strategy)
    assert ("batch_size" in reasons) == (unit is not None)
    if unit is None:
        total = micro_batch_size(strategy) * accumulation_steps(strategy) * num_replicas(strategy)
        assert total == batch
    else:
        assert f"a multiple of {unit} does" in reasons["batch_size"]
        divides = strategy.with_values(batch_size=unit * 2)
        assert not SCRIPTS[name].unsupported(divides)


def test_micro_batches_that_do_not_divide_are_refused_by_lightning() -> None:
    uneven = samples.trial(batch_size=16, micro_batch_size=3).strategy
    assert "a multiple of 3" in SCRIPTS["lightning"].unsupported(uneven)["batch_size"]


@pytest.mark.parametrize("optimizer", ["sgd", "adafactor"])
@pytest.mark.parametrize("levers", [{"parallelism": "zero1:2"}, {"offload": "optimizer"}])
def test_deepspeed_refuses_optimizers_that_its_engine_refuses(
    optimizer: str, levers: dict[str, Any]
) -> None:
    unsupported = SCRIPTS["deepspeed"].unsupported
    sharded = samples.trial(device="cuda:0", optimizer=optimizer, **levers).strategy
    assert "optimizer" in unsupported(sharded)
    assert "optimizer" not in unsupported(sharded.with_values(parallelism="ddp:2", offload="none"))
    assert "optimizer" not in unsupported(sharded.with_values(optimizer="adamw"))


@pytest.mark.parametrize(
    ("levers", "lever"),
    [
        ({"offload": "parameters"}, "offload"),
        ({"placement": "mixed", "parallelism": "ddp:2"}, "placement"),
        ({"offload": "parameters", "parallelism": "fsdp:2"}, None),
        ({"offload": "optimizer"}, None),
        ({"placement": "embeddings-on-cpu"}, None),
    ],
)
def test_ray_refuses_what_its_workers_do_not_support(
    levers: dict[str, Any], lever: str | None
) -> None:
    reasons = SCRIPTS["ray-train"].unsupported(samples.trial(device="cuda:0", **levers).strategy)
    assert [*reasons] == ([lever] if lever else [])


@pytest.mark.parametrize(
    ("levers", "gpus"),
    [
        ({}, 1),
        ({"parallelism": "ddp:3"}, 1),
        ({"placement": "split:time", "split_gpus": 3}, 3),
        ({"placement": "split:memory"}, 1),
    ],
)
def test_a_ray_worker_gets_the_gpus_that_it_uses(levers: dict[str, Any], gpus: int) -> None:
    settings = config("ray-train", device="cuda:1", **levers)
    assert settings["resources_per_worker"]["GPU"] == gpus


@pytest.mark.parametrize("name", ["torchrun", "slurm", "ray-train"])
def test_models_are_split_by_the_loop_of_the_trial(name: str) -> None:
    script = SCRIPTS[name]
    strategy = samples.trial(device="cuda:0", placement="split:time", split_gpus=2).strategy
    assert not unsupported_levers(
        name, strategy, script.locations, script.unsupported, allowed=False
    )


@pytest.mark.parametrize(
    ("levers", "fields"),
    [
        ({"batch_size": 32}, {"per_device_train_batch_size": 32, "gradient_accumulation_steps": 1}),
        (
            {"batch_size": 32, "micro_batch_size": 8},
            {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4},
        ),
        ({"precision": "bf16"}, {"bf16": True, "fp16": False}),
        ({"precision": "bf16-pure"}, {"bf16": False}),
        ({"compile": True}, {"torch_compile": True, "torch_compile_mode": None}),
        ({"compile": "cuda-graphs"}, {"torch_compile_mode": "reduce-overhead"}),
        ({"activation_checkpointing": True}, {"activation_checkpointing": True}),
        ({"learning_rate": 1e-3}, {"learning_rate": 1e-3}),
        (
            {"learning_rate": 1e-3, "batch_size": 32, "learning_rate_scaling": "sqrt"},
            {"learning_rate": 2e-3},
        ),
        (
            {"learning_rate": 1e-3, "batch_size": 32, "learning_rate_scaling": "linear"},
            {"learning_rate": 4e-3},
        ),
        ({"epochs": 2.5}, {"num_train_epochs": 2.5}),
        ({"optimizer": "adamw"}, {"optim": "adamw_torch"}),
        ({"optimizer": "sgd"}, {"optim": "sgd"}),
        ({"optimizer": "adafactor"}, {"optim": "adafactor"}),
        ({"device": "cpu"}, {"use_cpu": True}),
    ],
)
def test_the_parser_of_transformers_reads_the_arguments(
    levers: dict[str, Any], fields: dict[str, Any], tmp_path: Path
) -> None:
    from transformers import HfArgumentParser, TrainingArguments

    path = tmp_path / "training_args.json"
    path.write_text(json.dumps(config("hf-trainer", **levers)))
    (arguments,) = HfArgumentParser(TrainingArguments).parse_json_file(path)  # type: ignore[arg-type]
    assert {name: getattr(arguments, name) for name in fields} == fields


def test_the_arguments_are_fields_of_the_installed_version() -> None:
    from transformers import TrainingArguments

    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    for levers in ({}, {"precision": "tf32"}, {"activation_checkpointing": True}):
        assert config("hf-trainer", **levers).keys() <= names


def test_accelerate_reads_its_configuration(tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = tmp_path / "accelerate.yaml"
    for levers, precision in ({"precision": "bf16"}, "bf16"), ({"compile": True}, "no"):
        path.write_text(yaml.safe_dump(config("accelerate", **levers)))
        launch = load_config_from_file(str(path))  # raises for a key that it does not know
        assert (launch.mixed_precision, launch.use_cpu, launch.num_processes) == (
            precision,
            True,
            1,
        )
        assert bool(launch.dynamo_config) == ("compile" in levers)


@pytest.mark.parametrize(
    ("levers", "ranks", "stage"),
    [
        ({"batch_size": 32, "micro_batch_size": 8}, 1, 0),
        ({"precision": "bf16"}, 1, 0),
        ({"batch_size": 16, "parallelism": "ddp:2"}, 2, 0),
        ({"batch_size": 16, "parallelism": "zero1:2"}, 2, 1),
        ({"precision": "bf16-pure", "batch_size": 16, "parallelism": "zero1:2"}, 2, 1),
    ],
)
def test_deepspeed_reads_its_configuration(
    levers: dict[str, Any], ranks: int, stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeed.runtime import config as deepspeed_config

    class Grid:
        def get_data_parallel_world_size(self) -> int:
            return ranks

    document = config("deepspeed", **levers)
    monkeypatch.setattr(deepspeed_config.dist, "get_rank", lambda: 0)  # without a process group
    parsed = deepspeed_config.DeepSpeedConfig(dict(document), mpu=Grid())
    assert parsed.train_batch_size == levers.get("batch_size", 8)
    assert parsed.train_batch_size == (
        parsed.train_micro_batch_size_per_gpu * parsed.gradient_accumulation_steps * ranks
    )
    assert parsed.zero_config.stage == stage
    assert parsed.gradient_clipping == 1.0
    assert parsed.bfloat16_config.enabled == (levers.get("precision") == "bf16-pure")
    assert parsed.torch_autocast_enabled == (levers.get("precision") == "bf16")


@pytest.mark.parametrize(
    ("levers", "lever"),
    [
        ({"parallelism": "fsdp:2"}, "parallelism"),
        ({"offload": "parameters"}, "offload"),
        ({"precision": "bf16-pure"}, "precision"),
    ],
)
def test_deepspeed_refuses_what_its_script_cannot_save(levers: dict[str, Any], lever: str) -> None:
    strategy = samples.trial(device="cuda:0", **levers).strategy
    assert lever in SCRIPTS["deepspeed"].unsupported(strategy)


def test_deepspeed_starts_on_the_gpus_of_the_strategy() -> None:
    command = SCRIPTS["deepspeed"].command
    first = samples.trial(device="cuda:0", parallelism="ddp:2").strategy
    assert [*command(first)] == ["deepspeed", "--num_gpus", "2", "train.py"]
    second = first.with_values(device="cuda:1")
    assert [*command(second)] == ["deepspeed", "--include", "localhost:1,2", "train.py"]


def test_lightning_takes_its_arguments() -> None:
    import lightning

    arguments = config("lightning", batch_size=32, micro_batch_size=8, precision="bf16", epochs=1.5)
    assert arguments.keys() <= inspect.signature(lightning.Trainer).parameters.keys()
    trainer = lightning.Trainer(**arguments)
    assert trainer.accumulate_grad_batches == 4
    assert trainer.precision == "bf16-mixed"
    assert trainer.max_steps == 5  # one and a half times 80 samples in batches of 32


def test_ray_takes_its_scaling() -> None:
    from ray.train import ScalingConfig

    levers = {"threads": 2, "parallelism": "ddp:3", "node_class": "gpu-a10"}
    scaling = ScalingConfig(**config("ray-train", **levers))
    assert scaling.label_selector == {"node-class": "gpu-a10"}
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (
        3,
        False,
        {"CPU": 2},
    )


def test_slurm_requests_a_multiple_of_the_trials_usage() -> None:
    measured = samples.trial({"peak_memory_gib": 3.0, "train_seconds": 600.0}, threads=4)
    (text,) = SCRIPTS["slurm"].config(samples.study(), measured, 80).values()
    for line in ("--cpus-per-task=4", "--mem=7G", "--time=30", "OMP_NUM_THREADS=4"):
        assert line in text
    assert "--gpus" not in text


@pytest.mark.parametrize(
    ("levers", "gpus"),
    [
        ({}, 1),
        ({"parallelism": "ddp:4"}, 4),
        ({"parallelism": "ddp:2", "placement": "mixed"}, 1),
        ({"placement": "split:time", "split_gpus": 2}, 2),
    ],
)
def test_slurm_requests_the_gpus_of_the_strategy(levers: dict[str, Any], gpus: int) -> None:
    (text,) = (
        SCRIPTS["slurm"]
        .config(samples.study(), samples.trial(device="cuda:0", **levers), 80)
        .values()
    )
    assert f"--gpus-per-node={gpus}\n" in text


@pytest.mark.parametrize(("device", "exported"), [("cuda:1", "cuda:0"), ("cpu", "cpu")])
def test_a_slurm_job_counts_its_gpus_from_0(device: str, exported: str, tmp_path: Path) -> None:
    study = samples.study(samples.write_data(tmp_path))
    exporter("slurm").export(study, samples.trial(device=device), tmp_path / "out")
    document = json.loads((tmp_path / "out/strategy.json").read_text())
    assert document["strategy"]["device"] == exported


def test_the_yaml_holds_every_lever(tmp_path: Path) -> None:
    exporter("yaml").export(samples.study(), samples.trial(batch_size=64), tmp_path)
    document = yaml.safe_load((tmp_path / "strategy.yaml").read_text())
    assert document["strategy"].keys() == samples.trial().strategy.values.keys()
    assert document["strategy"]["batch_size"] == 64


def test_the_nearest_format_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        exporter("hf-trianer")
    assert "did you mean hf-trainer?" in str(caught.value.hint)


def test_earlier_releases_have_another_name_for_checkpointing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclasses.dataclass
    class EarlierArguments:
        gradient_checkpointing: bool = False

    monkeypatch.setattr("transformers.TrainingArguments", EarlierArguments)
    arguments = config("hf-trainer", activation_checkpointing=True)
    assert arguments["gradient_checkpointing"] is True
    assert arguments["gradient_checkpointing_kwargs"] == {"use_reentrant": False}
