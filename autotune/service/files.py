"""The files that users have uploaded: a folder for each user that no name leads out of."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import NotFoundError, UsageError
from autotune.service.documents import InvalidRequest, TooLarge

SUFFIXES = frozenset({".bin", ".csv", ".json", ".jsonl", ".model", ".parquet", ".safetensors",
                      ".tsv", ".txt"})  # fmt: skip
"""Of data sets and models. Code is not accepted."""

MAX_NAME_LENGTH = 200
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*){0,3}", re.ASCII)


@dataclass(frozen=True)
class UploadedFile:
    """``name`` is relative to the folder of its user, as study files spell it."""

    name: str
    size: int


@dataclass(frozen=True)
class UserFolder:
    """The folder of one user. Study files of the user run with it as working directory."""

    path: Path

    @classmethod
    def of_user(cls, folder: Path, user: str) -> UserFolder:
        """The folder of ``user``, which is created if needed."""
        path = folder / "files" / user
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    def locate(self, name: str) -> Path:
        """The path of the file ``name``.

        :raises InvalidRequest: the name is malformed, so that it could lead out of the folder.
        """
        if len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"a file cannot be named {name[:MAX_NAME_LENGTH]!r}",
                hint="use letters, digits, '_', '-', '.' and up to three folders: data/train.jsonl",
            )
        path = self.path / name
        if path.suffix not in SUFFIXES:
            raise InvalidRequest(
                f"files such as {path.name} are not accepted",
                hint=f"the endings of data and models are: {' '.join(sorted(SUFFIXES))}",
            )
        return path

    def has(self, name: str) -> bool:
        """Whether the file or the folder ``name`` was uploaded."""
        return bool(_NAME.fullmatch(name)) and (self.path / name).exists()

    def list_files(self) -> Sequence[UploadedFile]:
        """All files, by name."""
        paths = sorted(path for path in self.path.rglob("*") if path.suffix in SUFFIXES)
        return [
            UploadedFile(path.relative_to(self.path).as_posix(), path.stat().st_size)
            for path in paths
            if path.is_file()
        ]

    async def write(
        self, name: str, chunks: AsyncIterator[bytes], *, max_bytes: int, max_total: int
    ) -> UploadedFile:
        """Write a file when all of it has arrived; an older one is replaced.

        :raises TooLarge: it is larger than ``max_bytes``.
        :raises UsageError: the folder would be larger than ``max_total``.
        """
        target = self.locate(name)
        others = self._other_bytes(name)
        descriptor, scratch = tempfile.mkstemp(prefix=".upload-", dir=self.path)
        size = 0
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    _require_space(size, others, max_bytes, max_total)
                    file.write(chunk)
            # Again, because other uploads may have ended meanwhile.
            _require_space(size, self._other_bytes(name), max_bytes, max_total)
            self._make_parent(target)
            Path(scratch).replace(target)
        except OSError as error:
            raise UsageError(f"{name} cannot be written: {error.strerror}") from error
        finally:
            Path(scratch).unlink(missing_ok=True)
        return UploadedFile(name, size)

    def _other_bytes(self, name: str) -> int:
        """The size of all files but ``name``."""
        return sum(file.size for file in self.list_files() if file.name != name)

    def remove(self, name: str) -> None:
        """Remove a file.

        :raises NotFoundError: there is none.
        """
        path = self.locate(name)
        if not path.is_file():
            raise NotFoundError(f"there is no file {name}", hint="GET /v1/files lists them")
        path.unlink()

    def _make_parent(self, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"{target.parent.name} is a file, not a folder") from None
        if target.is_dir():
            raise UsageError(f"{target.name} is a folder, not a file")


def _require_space(size: int, others: int, max_bytes: int, max_total: int) -> None:
    if size > max_bytes:
        raise TooLarge(f"a file may have {max_bytes:,} bytes at most")
    if size + others > max_total:
        raise UsageError(
            f"the files of a user may have {max_total:,} bytes at most",
            hint="delete some: DELETE /v1/files/NAME",
        )
