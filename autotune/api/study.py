"""A study made of Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from autotune import domain, spec
from autotune.domain import Host
from autotune.spec.yaml import write


class Study:
    """A study, as a study file describes one.

    The keywords are the sections of a study file, as plain values; the same rules hold, and
    mistakes are reported with the path of the value::

        autotune.Study(
            "sentiment",
            task={"model": "builtin:bert-tiny", "dataset": {"train": "train.jsonl"}},
            objectives=["train_samples_per_second", "accuracy"],
            space={"batch_size": [8, 16], "padding": ["dynamic", "bucketed"]},
            budget={"minutes": 5},
        )

    Relative paths refer to the working directory.
    """

    def __init__(self, name: str, **sections: Any) -> None:
        self._source: str | Path = write({"study": name, **sections})

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The study of a document with the keys of a study file, ``study`` among them."""
        study = cls.__new__(cls)
        study._source = write(dict(document))
        return study

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The study of a file, or a bundled study by its name."""
        from autotune.cli.commands.study import resolve_study_path

        study = cls.__new__(cls)
        study._source = resolve_study_path(str(path))
        return study

    @classmethod
    def from_value(cls, value: Study | Mapping[str, Any] | str | Path) -> Study:
        """``value`` as a study: a study, a document, or the path of a file."""
        if isinstance(value, Study):
            return value
        return cls.from_dict(value) if isinstance(value, Mapping) else cls.from_file(value)

    @property
    def source(self) -> str | Path:
        """The path of the study file, or the text of one."""
        return self._source

    @property
    def text(self) -> str:
        """The study as YAML."""
        if isinstance(self._source, Path):
            return self._source.read_text(encoding="utf-8")
        return self._source

    def validate(self, host: Host | None = None, *, overrides: Sequence[str] = ()) -> domain.Study:
        """Validate the study for ``host``, by default this machine, and return what was resolved.

        :raises SpecError: with all mistakes and their places.
        """
        from autotune.hardware import inventory

        return spec.load(self._source, host=host or inventory(), overrides=overrides).study

    def save(self, path: str | Path) -> Path:
        """Write the study to a file that ``autotune search`` reads."""
        target = Path(path)
        target.write_text(self.text, encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return f"Study.from_file({str(self._source)!r})" if self._is_file else self.text

    @property
    def _is_file(self) -> bool:
        return isinstance(self._source, Path)
