"""autotune finds how to fine-tune your BERT: faster, cheaper, as accurate, on your own hardware.

The Python interface is imported on first use, so that ``import autotune`` costs next to nothing::

    import autotune

    result = autotune.search("search_spaces/bert.yaml")
    print(result.knee)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autotune.version import __version__

if TYPE_CHECKING:
    from autotune.api import Callback, Client, Result, Study, TunedTrainer, load, search, tune

__all__ = [
    "Callback",
    "Client",
    "Result",
    "Study",
    "TunedTrainer",
    "__version__",
    "load",
    "search",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from autotune import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
