"""Things that travel to processes which Ray has started, and which may not import all of ours."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, field
from typing import Any


def _path() -> tuple[str, ...]:
    return tuple(sys.path)


@dataclass(frozen=True)
class Parcel:
    """Something pickled, and where its modules are found where the machine has the same folders."""

    content: bytes
    path: tuple[str, ...] = field(default_factory=_path)

    @classmethod
    def of(cls, content: Any) -> Parcel:
        return cls(pickle.dumps(content))

    def open(self) -> Any:
        """What is in it. Its folders are put last in this process's path, for what it starts."""
        sys.path.extend(folder for folder in self.path if folder not in sys.path)
        return pickle.loads(self.content)
