"""The commands of the service: ``serve`` and ``stop``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.options import StorageOption, StudyArgument, open_client, storage_url
from autotune.cli.output import info
from autotune.components import EXECUTORS
from autotune.domain.registry import import_object
from autotune.domain.text import format_address
from autotune.errors import MissingExtraError, UsageError

PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8700,
    workers: Annotated[
        int, typer.Option(help="Studies to run at once; 0 only answers requests.", min=0)
    ] = 1,
    storage: StorageOption = None,
    folder: Annotated[
        Path, typer.Option(help="Directory of uploads, logs and files of trials.")
    ] = Path("service"),
    executor: Annotated[
        str | None,
        typer.Option(
            metavar=f"[{'|'.join(EXECUTORS)}]",
            help="Executor of all studies, instead of that of their files.",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster of all studies.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Need no token. For this machine only.")
    ] = False,
) -> None:
    """Serve studies over HTTP: they wait in a queue and run here. Create a token first."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "service", "autotune serve")
    if executor is not None:
        EXECUTORS.find(executor)
    if address is not None and executor != "ray":
        raise UsageError("--address is that of a Ray cluster", hint="add --executor ray")
    create_config = import_object("autotune.service.config:ServiceConfig")
    config = create_config(
        storage_url(storage), folder, workers=workers, is_open=no_auth, executor=executor,
        address=address,
    )  # fmt: skip
    info(f"service: http://{format_address(host, port)}  (Ctrl-C ends it)")
    import_object("autotune.service.server:serve")(config, host, port)


def stop(study: StudyArgument) -> None:
    """Stop a study of a service: autotune --remote URL stop STUDY."""
    client = open_client()
    if client is None:
        raise UsageError(
            "stop is for studies of a service", hint=f"autotune --remote URL stop {study}"
        )
    with client:
        state = client.stop(study)["state"]
    info(f"study {study} is {state}" if state == "stopped" else f"study {study} ends its trials")
