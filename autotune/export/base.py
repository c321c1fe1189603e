"""Writes exported folders: the script, the trainer's configuration, data, model and checksums."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autotune import plugins
from autotune.analysis.records import measurement_record
from autotune.domain import Strategy, Study, Trial
from autotune.domain.training import task_of
from autotune.export import readme, vendoring
from autotune.export.directory import exported_files, replaced_export
from autotune.export.levers import (
    UnsupportedLevers,
    lever_locations,
    supports_all,
    unsupported_levers,
)
from autotune.levers.numerics import UNPADDED
from autotune.version import __version__

REQUIRED_PACKAGES = ("torch", "transformers", "numpy", "tokenizers", "safetensors", "psutil")
"""Packages that every exported script needs."""


def identity(strategy: Strategy) -> Strategy:
    """For formats that keep the device numbers of the trial."""
    return strategy


@dataclass(frozen=True)
class ScriptFormat:
    """A format whose folder contains a script, made from ``template``, that a trainer runs.

    ``command`` launches it from inside the folder. ``config`` returns files in the trainer's own
    format by name, from the study, the trial and the number of training samples. ``groups`` are
    the groups of :attr:`autotune.levers.Lever.exports` that apply to it. ``unsupported`` returns
    the levers that it cannot express. ``rewrite`` returns the strategy to write down, where devices
    have other numbers than on the machine of the trial. :func:`autotune.export.exporter` describes
    the last three.
    """

    name: str
    summary: str
    template: str
    command: Callable[[Strategy], Sequence[str]]
    config: Callable[[Study, Trial, int], Mapping[str, str]]
    groups: tuple[str, ...]
    packages: tuple[str, ...] = ()
    unsupported: UnsupportedLevers = supports_all
    rewrite: Callable[[Strategy], Strategy] = identity
    allow_partial: bool = False
    overwrite: bool = False
    all_rows: bool = False
    comparison: str = ""

    @property
    def locations(self) -> Mapping[str, str]:
        """The place where each supported lever is set, by lever."""
        return lever_locations(self.name, self.groups)

    def export(self, study: Study, trial: Trial, directory: Path) -> Sequence[Path]:
        """Write the folder, replacing an earlier export when the new one is complete.

        Raises :class:`~autotune.errors.UsageError` for a strategy that the format cannot express
        (without ``allow_partial``), and for a folder that contains other files, or (without
        ``overwrite``) edited files or a trained model. Raises :class:`~autotune.errors.DataError`
        if the data has changed since the trial.
        """
        from autotune.export.assets import require_same_content

        plugins.load(study.plugins)
        plugins.register_scores(study.task.metrics or ())
        require_same_content(study)
        study = replace(study, task=task_of(study.task, trial.strategy))
        left_out = unsupported_levers(
            self.name, trial.strategy, self.locations, self.unsupported, self.allow_partial
        )
        if "parallelism" in left_out:  # one process trains the whole batch
            trial = replace(trial, strategy=trial.strategy.with_values(parallelism="none"))
        trial = replace(trial, strategy=self.rewrite(trial.strategy))
        with replaced_export(directory, self.overwrite) as folder:
            self._write(study, trial, left_out, folder)
        return exported_files(directory)

    def _write(self, study: Study, trial: Trial, left_out: Mapping[str, str], folder: Path) -> None:
        from autotune.export.assets import write_assets
        from autotune.trial.data.tokenizer import vocabulary_packages

        cap = study.task.train_samples
        if self.all_rows:
            study = replace(study, task=replace(study.task, train_samples=None))
        prepared = write_assets(study.task, folder)
        packages = (*self.packages, *vocabulary_packages(Path(prepared.model_dir)))
        document = {
            **strategy_document(study, trial, self.name),
            "data": {
                "label_names": prepared.label_names,
                "max_length": prepared.max_length,
                "class_weights": prepared.class_weights,
                "train_samples": cap,
            },
            "left_out": dict(left_out),
            "comparison": self.comparison,
            "command": list(self.command(trial.strategy)),
        }
        files = {
            **vendoring.script(self.template, __version__, study.plugins),
            **self.config(study, trial, prepared.sizes["train"]),
            "strategy.json": as_json(document),
            "requirements.txt": requirements(packages, trial),
            "README.md": readme.readme(document, self.summary, self.locations),
        }
        write_files(folder, files)


def strategy_document(study: Study, trial: Trial, name: str) -> dict[str, Any]:
    """The strategy, the task and the trial's measurements, as plain data."""
    return {
        "format": name,
        "autotune": __version__,
        "study": study.name,
        "trial": trial.number,
        "seed": trial.seed,
        "strategy": dict(trial.strategy.values),
        "task": asdict(study.task),
        "measured": {m: measurement_record(trial, m) for m in sorted(trial.result.measurements)},
        "environment": dict(trial.result.environment),
    }


def requirements(packages: Sequence[str], trial: Trial) -> str:
    """``requirements.txt`` with the versions of the trial, else those installed on this machine. A
    package with neither has no version."""
    versions = trial.result.environment
    lines = []
    levers = ["peft"] if trial.strategy["adapter"] != "none" else []
    levers += ["flash-attn"] if trial.strategy["attention"] == UNPADDED else []
    for name in (*REQUIRED_PACKAGES, *packages, *levers):
        full = str(versions.get(name) or _installed_version(name.partition("[")[0]))
        public = full.partition("+")[0]  # no index has local builds (+cpu)
        lines.append(f"{name}=={public}\n" if public else f"{name}\n")
    return "".join(lines)


def installed_requirements(packages: Sequence[str]) -> str:
    """``requirements.txt`` with the versions that are installed on this machine."""
    versions = {name: _installed_version(name).partition("+")[0] for name in packages}
    return "".join(f"{n}=={v}\n" if v else f"{n}\n" for n, v in versions.items())


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def as_json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
