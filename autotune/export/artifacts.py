"""Formats of the trained model itself: ``model``, ``onnx``, ``openvino`` and ``docker``.

A folder has the model, the tokenizer, ``predict.py``, which needs neither autotune nor (for graphs)
torch, and the rows of the validation split with the predictions for them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autotune import plugins
from autotune.deployment.artifact import PRUNED, read_artifact
from autotune.deployment.runtimes import HUB
from autotune.deployment.settings import DeploymentSettings
from autotune.domain import Measurement, Strategy, Study, Task, Trial
from autotune.domain.runtimes import RUNTIMES
from autotune.domain.training import task_of
from autotune.errors import UsageError
from autotune.export import artifact_texts, vendoring
from autotune.export.artifact_rows import PREDICTIONS
from autotune.export.base import as_json, installed_requirements, strategy_document, write_files
from autotune.export.directory import exported_files, replaced_export
from autotune.version import __version__

SERVER_RUNTIMES = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class ArtifactFormat:
    """``settings`` returns those of the export for a strategy.

    ``is_hub_model``: in the format of ``from_pretrained``. ``model`` is the folder of the trained
    model (:func:`autotune.export.trained.trained_model_folder`).
    """

    name: str
    settings: Callable[[Strategy], DeploymentSettings]
    has_server: bool = False
    is_hub_model: bool = False
    overwrite: bool = False
    model: Path | None = None

    def export(self, study: Study, trial: Trial, directory: Path) -> Sequence[Path]:
        """Write the folder, replacing an earlier export when the new one is complete.

        Raises :class:`UsageError` for a folder that contains other files, or (without
        ``overwrite``) edited ones, and for a kind of task without ``predict.py``;
        :class:`~autotune.errors.DataError` if the data has changed since the trial;
        :class:`~autotune.errors.ModelError` if ``predict.py`` does not make the tokens of the
        trial.
        """
        from autotune.deployment.pipeline import TASKS
        from autotune.export.assets import require_same_content

        if self.model is None:
            raise UsageError(
                f"--to {self.name} exports a trained model, which only the command line finds",
                hint=f"autotune export {study.name} --trial {trial.number} --to {self.name}",
            )
        if study.task.model_class is not None:
            raise UsageError(
                f"--to {self.name} cannot export a model of the class {study.task.model_class}, "
                "which is not of transformers",
                hint="--with-model adds the model to a script: --to hf-trainer --with-model",
            )
        if study.task.kind not in TASKS:
            raise UsageError(
                f"--to {self.name} cannot export a model for {study.task.kind}: its predictions "
                "need the code of the task",
                hint="--with-model adds the model to a script: --to hf-trainer --with-model",
            )
        plugins.load(study.plugins)
        plugins.register_scores(study.task.metrics or ())
        require_same_content(study)
        study = replace(study, task=task_of(study.task, trial.strategy))
        with replaced_export(directory, self.overwrite) as folder:
            self._write(study, trial, self.model, folder)
        return exported_files(directory)

    def _write(self, study: Study, trial: Trial, model: Path, folder: Path) -> None:
        from autotune.export.artifact_predictions import (
            export_figures,
            require_trial_tokens,
            score_test_split,
            write_predictions,
            write_validation_rows,
        )

        settings = self.settings(trial.strategy)
        runtime = HUB if self.is_hub_model else settings.runtime
        prepared = self._build(study, trial.strategy, model, folder)
        figures = export_figures(prepared, folder, settings)
        tested = score_test_split(prepared, folder, settings)
        document = {
            **strategy_document(study, trial, self.name),
            "data": {"label_names": prepared.label_names, "max_length": prepared.max_length},
            "deployment": asdict(settings),
            "left_out": left_out(study.task, trial.strategy, settings, folder),
            "exported": {name: _record(figure) for name, figure in figures.items()},
            "tested": {name: _record(score) for name, score in tested.items()},
        }
        write_validation_rows(study.task, folder)
        if "stride" not in document["left_out"]:
            require_trial_tokens(prepared, folder)
        write_files(
            folder,
            {
                **self._programs(runtime),
                "strategy.json": as_json(document),
                "README.md": self._readme(document, runtime, folder),
            },
        )
        write_predictions(folder, folder / PREDICTIONS)

    def _build(self, study: Study, strategy: Strategy, model: Path, folder: Path) -> Any:
        """Write the artifact; the prepared task."""
        from autotune.deployment import build
        from autotune.export.hub_model import write_hub_model
        from autotune.trial.data.datasets import load_split, prepare_task
        from autotune.trial.data.encoded_texts import calibration_texts
        from autotune.trial.model_files import linked_model
        from autotune.trial.post_pruning import pruned_model

        prepared = prepare_task(study.task)
        train, seed = load_split(prepared, "train"), study.task.seed
        with linked_model(model, folder) as linked:
            pruned = pruned_model(linked, strategy, prepared, train, seed)
            build(pruned, self.settings(strategy), folder, calibration_texts(train, seed))
            if self.is_hub_model:
                write_hub_model(pruned, folder)
        return prepared

    def _programs(self, runtime: str) -> dict[str, str]:
        """The programs, what they import, and what installs and starts them."""
        module = artifact_texts.SESSION_MODULES[runtime]
        sources = {"predict.py": artifact_texts.PREDICT.format(module=module)}
        files = {"requirements.txt": installed_requirements(artifact_texts.PACKAGES[runtime])}
        if self.has_server:
            sources["server.py"] = artifact_texts.SERVER.format(module=module)
            # requirements.txt has what is installed here, which other versions may not install.
            version = ".".join(platform.python_version_tuple()[:2])
            files["Dockerfile"] = artifact_texts.DOCKERFILE.format(version=version)
            files[".dockerignore"] = artifact_texts.DOCKERIGNORE
        return {**vendoring.programs(sources, __version__), **files}

    def _readme(self, document: Mapping[str, Any], runtime: str, folder: Path) -> str:
        if self.is_hub_model:
            is_pruned = (folder / PRUNED).is_dir()
            return artifact_texts.model_card(document, is_pruned=is_pruned)
        return artifact_texts.readme(document, runtime, has_server=self.has_server)


def settings_in(strategy: Strategy, runtime: str) -> DeploymentSettings:
    """The settings of ``strategy`` in ``runtime``, without a quantization that it cannot run."""
    settings = DeploymentSettings.from_strategy(strategy)
    is_supported = settings.quantization in RUNTIMES[runtime].quantizations
    quantization = settings.quantization if is_supported else "none"
    return replace(settings, runtime=runtime, quantization=quantization)


def hub_settings(strategy: Strategy) -> DeploymentSettings:
    """The settings of ``strategy`` for transformers, which loads fp32."""
    return replace(settings_in(strategy, "torch"), quantization="none")


def server_settings(strategy: Strategy) -> DeploymentSettings:
    """The settings of ``strategy`` in its own runtime, or in ONNX Runtime if that is torch."""
    runtime = str(strategy.get("runtime", ""))
    return settings_in(strategy, runtime if runtime in SERVER_RUNTIMES else SERVER_RUNTIMES[0])


def left_out(
    task: Task, strategy: Strategy, settings: DeploymentSettings, folder: Path
) -> dict[str, str]:
    """The settings that the export in ``folder`` does not have, and why."""
    differences = {
        name: f"the trial was measured with {strategy[name]}, the export has {value}"
        for name, value in (("runtime", settings.runtime), ("quantization", settings.quantization))
        if strategy.get(name, value) != value
    }
    if task.stride is not None and not read_artifact(folder).divides_texts:
        reason = "its model was kept by an earlier version: long texts are cut, not divided"
        differences["stride"] = reason
    return differences


def _record(measurement: Measurement) -> dict[str, Any]:
    ends = measurement.ci95
    return {
        "value": measurement.value,
        "unit": measurement.unit,
        "n": measurement.n,
        "ci95": None if ends is None else list(ends),
    }


MODEL = ArtifactFormat("model", hub_settings, is_hub_model=True)
ONNX = ArtifactFormat("onnx", lambda s: settings_in(s, "onnxruntime"))
OPENVINO = ArtifactFormat("openvino", lambda s: settings_in(s, "openvino"))
DOCKER = ArtifactFormat("docker", server_settings, has_server=True)
