"""The strategy as YAML, for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from autotune.domain import Study, Trial
from autotune.export.base import strategy_document, write_files
from autotune.export.directory import exported_files, replaced_export


@dataclass(frozen=True)
class YamlFormat:
    """Writes ``strategy.yaml``: all levers, the task and the trial's measurements."""

    name: str = "yaml"
    overwrite: bool = False

    def export(self, study: Study, trial: Trial, directory: Path) -> Sequence[Path]:
        """Write the file. Raises :class:`~autotune.errors.UsageError` for a folder that contains
        other files, or (without ``overwrite``) edited ones."""
        text = yaml.safe_dump(strategy_document(study, trial, self.name), sort_keys=False)
        with replaced_export(directory, self.overwrite) as folder:
            write_files(folder, {"strategy.yaml": text})
        return exported_files(directory)


FORMAT = YamlFormat()
