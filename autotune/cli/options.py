"""Options that several commands share, and the values behind them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotune.components import EXECUTORS
from autotune.ports import StoreReader

if TYPE_CHECKING:
    from autotune.client import Client

DEFAULT_STORAGE = "sqlite:///autotune.db"


@dataclass
class ServiceOption:
    """The address of ``--remote``; ``None`` where studies are local."""

    url: str | None = None


SERVICE = ServiceOption()
"""Set before a command runs."""

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="AUTOTUNE_STORAGE",
        help=f"Results database, as a SQLAlchemy URL. [default: {DEFAULT_STORAGE}]",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key of the file: --set task.epochs=3."
    ),
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar=f"[{'|'.join(EXECUTORS)}]",
        help="Executor to use instead of the study file's.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="Address of a running Ray cluster: auto or HOST:PORT."),
]
SharingOption = Annotated[
    bool,
    typer.Option(
        "--no-sharing", help="Run every phase of every trial; reuse no results of other trials."
    ),
]
WarmStartOption = Annotated[
    str | None,
    typer.Option("--warm-start", metavar="STUDY", help="Import the results of this study first."),
]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.")]
SpecArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="Study file, or the name of a bundled study.")
]


def storage_url(storage: str | None) -> str:
    """The URL of ``--storage``, or the default."""
    return storage or DEFAULT_STORAGE


def default_storage() -> str:
    """The URL of ``AUTOTUNE_STORAGE``, or the default: for callers that parse no options."""
    return storage_url(os.environ.get("AUTOTUNE_STORAGE"))


def is_given(context: typer.Context, parameter: str) -> bool:
    """Whether the command line names ``parameter``; the environment does not count."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def storage_option(storage: str | None) -> str:
    """The option that the next command needs to find ``storage``; empty if it finds it without. A
    password is masked."""
    from autotune.store.database import masked, parse_url

    if storage_url(storage) == default_storage():
        return ""
    return f" --storage {shlex.quote(masked(parse_url(storage_url(storage))))}"


def open_client() -> Client | None:
    """A client of the service of ``--remote``; ``None`` where studies are local."""
    from autotune.client import Client

    return None if SERVICE.url is None else Client(SERVICE.url)


def open_reader(storage: str | None) -> StoreReader:
    """The store, read-only, or the service of ``--remote``."""
    from autotune.client.store import RemoteStore
    from autotune.store import open_store

    client = open_client()
    if client is not None:
        return RemoteStore(client)
    return open_store(storage_url(storage), read_only=True)


@contextmanager
def reading_store(storage: str | None) -> Iterator[StoreReader]:
    """The store or the service that the options name, to read from."""
    store = open_reader(storage)
    try:
        yield store
    finally:
        store.close()


def runs_directory() -> Path:
    """The directory of the logs and artifacts of trials."""
    return Path(os.environ.get("AUTOTUNE_RUNS", "runs")).absolute()
