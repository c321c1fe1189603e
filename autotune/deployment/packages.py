"""The packages of the runtimes, which are extras of autotune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from autotune.errors import MissingExtraError

EXTRAS: Mapping[str, str] = {"onnxruntime": "onnx", "openvino": "openvino", "tensorrt": "tensorrt"}
"""By runtime, the extra that installs what it needs."""


@contextmanager
def required_packages(runtime: str) -> Iterator[None]:
    """Raise :class:`MissingExtraError` where a block cannot import a package of ``runtime``."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if runtime not in EXTRAS or not package:
            raise
        raise MissingExtraError(package, EXTRAS[runtime], f"runtime: {runtime}") from error
