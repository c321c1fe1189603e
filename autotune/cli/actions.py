"""Commands that act on stored results: ``export dashboard db``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    reading_store,
    storage_url,
)
from autotune.cli.output import note, out, print_json

database = typer.Typer(help="Look after the database of results.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(dashboard)
    app.add_typer(database, name="db")


def export(
    study: StudyArgument,
    trial: Annotated[
        str,
        typer.Option(help="A number, knee, fastest, most-accurate, cheapest, "
                          "or 'accuracy >= 0.9 then cheapest'."),
    ] = "knee",
    to: Annotated[str, typer.Option("--to", help="Format of the trainer.")] = "hf-trainer",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("out"),
    storage: StorageOption = None,
) -> None:  # fmt: skip
    """Write one trial's strategy as a folder that a trainer runs."""
    from autotune.analysis.select import choose
    from autotune.export import exporter

    chosen_exporter = exporter(to)
    with reading_store(storage) as store:
        whole = store.study(study)
        number = choose(whole, store.trials(study), trial).number
        files = chosen_exporter.export(whole, store.trial(study, number), output)
    note(f"trial {number} of {study} as {to}:")
    for file in files:
        out.print(str(file), markup=False)


def dashboard(
    storage: StorageOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
) -> None:
    """Open the dashboard: the front, every trial, and what each lever does."""
    from autotune.cli.serving import serve

    serve(storage_url(storage), host=host, port=port)


@database.command("upgrade")
def db_upgrade(storage: StorageOption = None) -> None:
    """Bring the database's schema up to this version; results are kept."""
    from autotune.store import check, upgrade

    url = storage_url(storage)
    before = check(url)
    upgrade(url)
    note(f"schema {before.current or 'none'} -> {check(url).current}")


@database.command("check")
def db_check(storage: StorageOption = None, json: JsonOption = False) -> None:
    """Say whether the database fits this version of autotune."""
    from dataclasses import asdict

    from autotune.store import check

    status = check(storage_url(storage))
    if json:
        print_json(asdict(status))
    else:
        out.print(f"{status.state}: schema {status.current or 'none'}, newest {status.head}")
    if status.state != "current":
        raise typer.Exit(1)
