"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from autotune.ports import Store

DEFAULT_STORAGE = "sqlite:///autotune.db"

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="AUTOTUNE_STORAGE",
        help=f"Database of results, as a SQLAlchemy URL. [default: {DEFAULT_STORAGE}]",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set task.epochs=3."),
]
ExecutorOption = Annotated[
    str | None,
    typer.Option("--executor", metavar="[local|ray]", help="Where trials run, if not as the file."),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="Of a running Ray cluster: auto or HOST:PORT."),
]
SharingOption = Annotated[
    bool,
    typer.Option(
        "--no-sharing", help="Measure everything in every trial, whatever others have measured."
    ),
]
WarmStartOption = Annotated[
    str | None,
    typer.Option("--warm-start", metavar="STUDY", help="Begin with what this study has found."),
]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.")]
SpecArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="Study file, or the name of a shipped one.")
]


def storage_url(given: str | None) -> str:
    return given or DEFAULT_STORAGE


def storage_option(storage: str | None) -> str:
    """What a command typed next needs to find ``storage``: nothing where it is where every command
    looks. A password is not repeated."""
    from autotune.store.database import masked, parse_url

    if storage_url(storage) == storage_url(os.environ.get("AUTOTUNE_STORAGE")):
        return ""
    return f" --storage {shlex.quote(masked(parse_url(storage_url(storage))))}"


@contextmanager
def reading_store(given: str | None) -> Iterator[Store]:
    """The store, opened so that nothing can be changed."""
    from autotune.store import open_store

    store = open_store(storage_url(given), read_only=True)
    try:
        yield store
    finally:
        store.close()


def runs_directory() -> Path:
    """Where trials keep their logs and artifacts."""
    return Path(os.environ.get("AUTOTUNE_RUNS", "runs")).absolute()
