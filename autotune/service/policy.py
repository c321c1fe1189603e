"""What a study file of a client may name: of the files on the server, its own uploads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from autotune.service.files import UserFolder
from autotune.spec.document import Document, Path
from autotune.spec.own_code import FUNCTION_KEYS

REPLAY = "replay"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ClientPolicy:
    """Records a mistake for everything that a client may not name. Relative paths are those of the
    files that the client has uploaded to ``folder``, the working directory of the driver."""

    folder: UserFolder

    def check(self, document: Document) -> None:
        """Record the mistakes of ``document``, and remove its plug-ins so that none is loaded."""
        data = document.data
        if not isinstance(data, dict):
            return
        self._check_sections(document, data)
        for path, text in _texts(data, ()):
            if path[0] != "storage" and _leaves_folder(text):
                message = f"'{text}' is a path of the server; upload the file and give its name"
                document.add_error(path, message)
        if _executor(data).get("kind") != REPLAY:
            self._check_data_files(document, data)

    def _check_sections(self, document: Document, data: dict[str, Any]) -> None:
        if data.get("plugins"):
            message = "plug-ins are code; the administrator of the service installs them"
            document.add_error(("plugins",), message, key=True)
        data.pop("plugins", None)
        self._check_functions(document, data)
        if data.get("storage") is not None:
            message = "the service has a storage of its own; remove it"
            document.add_error(("storage",), message, key=True)
            del data["storage"]
        executor = _executor(data)
        if executor.get("address") is not None:
            message = "the administrator of the service sets the address of the cluster; remove it"
            document.add_error(("executor", "address"), message, key=True)
        landscape = executor.get("landscape")
        if isinstance(landscape, str) and not self.folder.has(landscape):
            document.add_error(("executor", "landscape"), _missing(landscape))

    def _check_functions(self, document: Document, data: dict[str, Any]) -> None:
        """Functions of ``module:function`` are code, as plug-ins are."""
        task = data.get("task")
        if not isinstance(task, dict):
            return
        message = "functions are code; the administrator of the service installs plug-ins"
        for key in [key for key in FUNCTION_KEYS if task.get(key)]:
            if key != "loss" or ":" in str(task[key]):
                document.add_error(("task", key), message)
                del task[key]

    def _check_data_files(self, document: Document, data: Mapping[str, Any]) -> None:
        task = data.get("task")
        dataset = task.get("dataset") if isinstance(task, dict) else None
        if not isinstance(dataset, dict) or "hub" in dataset:
            return
        for split in SPLITS:
            name = dataset.get(split)
            if isinstance(name, str) and not _leaves_folder(name) and not self.folder.has(name):
                document.add_error(("task", "dataset", split), _missing(name))


def _missing(name: str) -> str:
    return f"'{name}' was not uploaded: PUT /v1/files/{name}"


def _executor(data: Mapping[str, Any]) -> Mapping[str, Any]:
    executor = data.get("executor")
    if isinstance(executor, str):
        return {"kind": executor}
    return executor if isinstance(executor, dict) else {}


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """All texts in ``value`` with their paths."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _leaves_folder(text: str) -> bool:
    """Whether ``text``, read as a path or an address, could name something outside of the working
    directory."""
    path = PurePosixPath(text)
    return path.is_absolute() or text.startswith(("~", "\\")) or ".." in path.parts or "://" in text
