"""The strategy as YAML, for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from autotune.domain import Study, Trial
from autotune.export import checksums
from autotune.export.base import strategy_document, write_files


@dataclass(frozen=True)
class YamlFormat:
    """Writes ``strategy.yaml``: all levers, the task and the trial's measurements."""

    name: str = "yaml"

    def export(self, study: Study, trial: Trial, directory: Path) -> Sequence[Path]:
        """Write the file. Raises :class:`~autotune.errors.UsageError` for a folder that contains
        other files."""
        checksums.clear_export_dir(directory)
        text = yaml.safe_dump(strategy_document(study, trial, self.name), sort_keys=False)
        write_files(directory, {"strategy.yaml": text})
        return checksums.write_checksums(directory)


FORMAT = YamlFormat()
