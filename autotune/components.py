"""The samplers, early-stopping rules, executors and export formats, by name.

To add one, write its module and add one record here. Plug-ins add records with the functions of
:mod:`autotune.plugins`. Implementations are named as ``"module:attribute"`` and imported on first
use, so that listing the names imports neither torch nor Optuna nor Ray. Values of study files, the
JSON Schema and help texts follow from these registries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.domain.registry import Registry


@dataclass(frozen=True)
class SamplerType:
    """``factory`` is called with the study and its :class:`~autotune.domain.WorkloadProfile` (or
    ``None``) and returns a :class:`~autotune.ports.Sampler`."""

    name: str
    summary: str
    factory: Callable[..., Any] | str
    learns: bool = True
    """Whether proposals depend on results, so that it can begin with recipes."""


_SAMPLER = "autotune.tuner.samplers.registry"

SAMPLERS: Registry[SamplerType] = Registry("sampler", (
    SamplerType(
        "factored",
        "Gaussian processes over the profile and the train phase",
        f"{_SAMPLER}:make_factored",
    ),
    SamplerType("tpe", "Tree-structured Parzen estimator", f"{_SAMPLER}:make_optuna"),
    SamplerType("nsga2", "Genetic algorithm", f"{_SAMPLER}:make_optuna"),
    SamplerType("random", "Random strategies", f"{_SAMPLER}:make_optuna", learns=False),
    SamplerType("grid", "All strategies, shuffled", f"{_SAMPLER}:make_grid", learns=False),
    SamplerType("qmc", "Quasi-random strategies", f"{_SAMPLER}:make_qmc", learns=False),
))  # fmt: skip


@dataclass(frozen=True)
class StoppingRule:
    """``should_stop`` is a function with the signature of
    :func:`autotune.tuner.early_stopping.optimistic`, or its ``"module:name"``; ``None`` stops
    no trial."""

    name: str
    summary: str
    should_stop: Callable[..., str | None] | str | None


STOPPING_RULES: Registry[StoppingRule] = Registry("early-stopping rule", (
    StoppingRule(
        "optimistic",
        "Stops a trial if even an optimistic final result is dominated or breaks a constraint",
        "autotune.tuner.early_stopping:optimistic",
    ),
    StoppingRule(
        "asha",
        "Asynchronous successive halving by non-dominated rank",
        "autotune.tuner.early_stopping:asha",
    ),
    StoppingRule("none", "Runs every trial to its end", None),
))  # fmt: skip


@dataclass(frozen=True)
class ExecutorType:
    """``factory`` is called with the :class:`~autotune.domain.ExecutorConfig` and returns what the
    functions of :mod:`autotune.execution.factories` return.

    ``default_workers``: concurrent trials if the study file does not say; 0 for as many as the
    cluster can run. ``settings``: the settings of the section ``executor`` that only some executors
    have (``address``, ``landscape``) and this one has. ``required``: those that it needs.
    """

    name: str
    summary: str
    factory: Callable[..., Any] | str
    default_workers: int = 1
    settings: frozenset[str] = field(default_factory=frozenset)
    required: frozenset[str] = field(default_factory=frozenset)


EXECUTORS: Registry[ExecutorType] = Registry("executor", (
    ExecutorType(
        "local",
        "Worker processes on this host",
        "autotune.execution.factories:open_local",
    ),
    ExecutorType(
        "ray",
        "Workers on a Ray cluster",
        "autotune.execution.factories:open_ray",
        default_workers=0,
        settings=frozenset({"address"}),
    ),
    ExecutorType(
        "replay",
        "Recorded results of a tabular benchmark, in simulated time",
        "autotune.execution.factories:open_replay",
        settings=frozenset({"landscape"}),
        required=frozenset({"landscape"}),
    ),
))  # fmt: skip

EXECUTOR_SETTINGS: Mapping[str, tuple[str, str]] = {
    "address": ("the address of a Ray cluster", "HOST:PORT"),
    "landscape": ("a recording to replay", "FILE"),
}
"""The settings of the section ``executor`` that only some executors have: what each is, and an
example of its value."""


@dataclass(frozen=True)
class ExportFormat:
    """``exporter`` is an :class:`~autotune.ports.Exporter`, or its ``"module:name"``.
    ``exports_model``: it writes the trained model of a trial, not what trains it."""

    name: str
    exporter: Any
    exports_model: bool = False


EXPORT_FORMATS: Registry[ExportFormat] = Registry("export format", (
    ExportFormat("hf-trainer", "autotune.export.hf_trainer:FORMAT"),
    ExportFormat("accelerate", "autotune.export.accelerate:FORMAT"),
    ExportFormat("deepspeed", "autotune.export.deepspeed:FORMAT"),
    ExportFormat("torchrun", "autotune.export.torchrun:FORMAT"),
    ExportFormat("lightning", "autotune.export.lightning:FORMAT"),
    ExportFormat("ray-train", "autotune.export.ray_train:FORMAT"),
    ExportFormat("slurm", "autotune.export.slurm:FORMAT"),
    ExportFormat("yaml", "autotune.export.yaml:FORMAT"),
    ExportFormat("model", "autotune.export.artifacts:MODEL", exports_model=True),
    ExportFormat("onnx", "autotune.export.artifacts:ONNX", exports_model=True),
    ExportFormat("openvino", "autotune.export.artifacts:OPENVINO", exports_model=True),
    ExportFormat("docker", "autotune.export.artifacts:DOCKER", exports_model=True),
))  # fmt: skip


@dataclass(frozen=True)
class StudyExportFormat:
    """A format for a study with all its trials. ``write`` is a function of the study, its trials
    and the target, or its ``"module:name"``; it returns the number of trials written. ``target``
    says what the target is, ``next_step`` is the command that reads it."""

    name: str
    target: str
    next_step: str
    write: Callable[..., int] | str


STUDY_EXPORT_FORMATS: Registry[StudyExportFormat] = Registry("export format of studies", (
    StudyExportFormat(
        "optuna",
        "a database URL",
        "optuna-dashboard {target}",
        "autotune.export.optuna_study:write_study",
    ),
))  # fmt: skip
