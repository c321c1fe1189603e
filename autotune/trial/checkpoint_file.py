"""One checkpoint on disk: tensors and a JSON document in one safetensors file.

A file is complete or absent: it is written under another name, flushed to disk and renamed. A
checksum over all tensors and the document detects damage.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

log = logging.getLogger(__name__)

PARTIAL_SUFFIX = ".partial"
"""Ends the name of a file that is being written."""


@dataclass(frozen=True)
class CheckpointFile:
    """The content of a checkpoint: tensors in host memory by name, and a JSON document."""

    tensors: Mapping[str, Tensor]
    document: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def write_checkpoint(path: Path, checkpoint: CheckpointFile) -> None:
    """Write ``path`` atomically. :class:`OSError` if the disk is full or cannot be written."""
    document = json.dumps(checkpoint.document)
    metadata = {"document": document, "crc32": str(_checksum(checkpoint.tensors, document))}
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        save_file(dict(checkpoint.tensors), partial, metadata)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except SafetensorError as error:  # its message is that of the system: "No space left on device"
        raise OSError(str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read_checkpoint(path: Path) -> CheckpointFile | None:
    """The checkpoint in ``path``; ``None`` if the file is missing, incomplete or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = metadata["document"]
        if _checksum(tensors, document) != int(metadata["crc32"]):
            raise ValueError("its checksum is wrong")
        return CheckpointFile(tensors, json.loads(document))
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        log.warning("the checkpoint %s is damaged and is not used: %s", path, error)
        return None


def _checksum(tensors: Mapping[str, Tensor], document: str) -> int:
    checksum = zlib.crc32(document.encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(name.encode(), checksum)
        content = tensors[name].contiguous().reshape(-1).view(torch.uint8)
        checksum = zlib.crc32(content.numpy().data, checksum)
    return checksum


def _sync_folder(folder: Path) -> None:
    """Flush the new name of a file to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
