"""A cache of folders that are built once, used by every trial, and rebuilt if damaged.

Entries are built in a temporary folder and renamed, so that an incomplete one is never visible.
Before each use an entry is checked against its manifest (sizes and checksums of all files), so
that damage costs a rebuild instead of wrong results.
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

from autotune.domain.paths import expand_home
from autotune.errors import DataError

MANIFEST = "seal.json"


def cache_root() -> Path:
    """The cache folder: ``AUTOTUNE_CACHE``, or ``autotune`` in the user's cache folder.

    :raises DataError: there is no such folder.
    """
    try:
        if chosen := os.environ.get("AUTOTUNE_CACHE"):
            return expand_home(chosen).absolute()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autotune"
    except RuntimeError as error:  # HOME is unset, and this user has no entry in the user database
        raise DataError(
            "there is no cache folder: HOME is not set, and this user has no home folder",
            hint="export AUTOTUNE_CACHE=/path/to/a/writable/folder",
        ) from error


def get_or_build(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of ``kind`` for ``key``; if there is none, ``build`` fills an empty folder.

    Safe for concurrent processes: the first one builds, the others wait for it.
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
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as directory:
        draft = Path(directory) / "new"
        draft.mkdir()
        build(draft)
        _write_manifest(draft)
        _publish(draft, folder)


@contextmanager
def _build_lock(name: str) -> Iterator[None]:
    """Wait for a process that builds this entry. On file systems without locks each process builds
    its own draft, and the first to finish is kept."""
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
    """Whether all files of the manifest exist with the size and checksum listed there."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return all(_fingerprint(folder / name) == tuple(f) for name, f in manifest.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _write_manifest(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {path.relative_to(folder).as_posix(): _fingerprint(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _fingerprint(path: Path) -> tuple[int, int]:
    """Size in bytes and CRC-32, which detects damage but not manipulation."""
    size = checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return size, checksum


def _publish(draft: Path, folder: Path) -> None:
    """Rename ``draft`` to ``folder``, unless another process has published a valid one."""
    for attempt in range(3):
        with suppress(OSError):
            draft.replace(folder)
            return
        if is_valid(folder):
            return
        with suppress(FileNotFoundError):  # damaged: move it into the temporary folder
            folder.replace(draft.with_name(f"damaged-{attempt}"))
    draft.replace(folder)
