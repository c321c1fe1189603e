"""The packages an exported script needs, in the versions that the trial ran with."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from autotune.domain import Trial

EVERY = ("torch", "transformers", "numpy", "tokenizers", "safetensors")


def requirements(packages: Sequence[str], trial: Trial) -> str:
    """The text of ``requirements.txt``. A version that neither the trial noted nor this machine
    has installed is left open."""
    noted = trial.result.environment
    lines = []
    for name in (*EVERY, *packages):
        found = str(noted.get(name) or _installed(name.partition("[")[0]))
        public = found.partition("+")[0]  # a local build (+cpu) is on no index
        lines.append(f"{name}=={public}\n" if public else f"{name}\n")
    return "".join(lines)


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
