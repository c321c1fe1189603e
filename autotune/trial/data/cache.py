"""Folders that are made once, used by every trial, and made again when they are found damaged.

An entry appears whole or not at all: it is drafted beside its place and renamed into it. Its seal
(sizes and checksums of all files) is looked at before each use, so that a half-written disk, a
careless hand or a cleaned-up cache costs a rebuild and never a wrong number.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autotune.errors import DataError

MANIFEST = "seal.json"


def cache_root() -> Path:
    """The cache folder: ``AUTOTUNE_CACHE``, or ``autotune`` in the user's cache folder."""
    if chosen := os.environ.get("AUTOTUNE_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autotune"


def get_or_build(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of ``kind`` for ``key``; ``build`` fills an empty one where it is not there yet.

    Safe with several processes at once: the first builds, and the others wait for it.
    """
    folder = cache_root() / kind / key
    if is_valid(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _build_lock(f"{kind}-{key}"):
            if not is_valid(folder):
                _build(folder, build)
    except OSError as error:
        raise DataError(
            f"cannot write to the cache {cache_root()}: {error.strerror or error}",
            hint="set AUTOTUNE_CACHE to a folder with free space that you may write to",
        ) from error
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as workshop:
        draft = Path(workshop) / "new"
        draft.mkdir()
        build(draft)
        _write_manifest(draft)
        _publish(draft, folder)


@contextmanager
def _build_lock(name: str) -> Iterator[None]:
    """Wait for whoever builds this entry now. Where a disk knows no locks, each builds its own
    draft, and the first to finish is kept."""
    locks = cache_root() / ".locks"
    locks.mkdir(exist_ok=True)
    lock = os.open(locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def is_valid(folder: Path) -> bool:
    """Whether every file of a sealed folder is there, with the content it was sealed with."""
    try:
        seal = json.loads((folder / MANIFEST).read_bytes())
        return all(_fingerprint(folder / name) == tuple(mark) for name, mark in seal.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _write_manifest(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    marks = {path.relative_to(folder).as_posix(): _fingerprint(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(marks, indent=1), encoding="utf-8")


def _fingerprint(path: Path) -> tuple[int, int]:
    """Size in bytes and CRC-32: against damage, not against attack."""
    size = checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return size, checksum


def _publish(draft: Path, folder: Path) -> None:
    """Rename ``draft`` to ``folder``, unless another process has put a whole one there."""
    for attempt in range(3):
        with suppress(OSError):
            draft.replace(folder)
            return
        if is_valid(folder):
            return
        with suppress(FileNotFoundError):  # damaged: out of the way, to go with the draft
            folder.replace(draft.with_name(f"damaged-{attempt}"))
    draft.replace(folder)
