"""``dashboard``: find the pages, in a checkout or in a wheel, and serve them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from autotune.cli.output import info

IN_WHEEL, IN_CHECKOUT = "autotune._dashboard", "dashboard"


def serve(storage: str, *, host: str, port: int) -> None:
    """Serve the dashboard over ``storage`` until interrupted."""
    info(f"dashboard: http://{host}:{port}  (Ctrl-C ends it)")
    _launch().serve(storage, host, port)


def _launch() -> Any:
    package = IN_WHEEL if importlib.util.find_spec(IN_WHEEL) is not None else IN_CHECKOUT
    return importlib.import_module(f"{package}.launch")
