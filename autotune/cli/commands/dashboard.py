"""The command ``dashboard``: serves the pages of a checkout or of an installed wheel."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Annotated, Any

import typer

from autotune.cli.options import StorageOption, storage_url
from autotune.cli.output import info
from autotune.domain.text import format_address

WHEEL_PACKAGE, CHECKOUT_PACKAGE = "autotune._dashboard", "dashboard"


def dashboard(
    storage: StorageOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8501,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Another name of this server, such as that of a proxy. Can be repeated."),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(
            help="Address of a service in which visitors start and stop studies: on this machine "
            "with the token of AUTOTUNE_TOKEN, else each with a token of their own, the login."
        ),
    ] = None,
) -> None:
    """Open the dashboard: the front, every trial, and the effect of each lever."""
    info(f"dashboard: http://{format_address(host, port)}  (Ctrl-C ends it)")
    _launch_module().serve(storage_url(storage), host, port, name or [], service)


def _launch_module() -> Any:
    in_wheel = importlib.util.find_spec(WHEEL_PACKAGE) is not None
    package = WHEEL_PACKAGE if in_wheel else CHECKOUT_PACKAGE
    return importlib.import_module(f"{package}.launch")
