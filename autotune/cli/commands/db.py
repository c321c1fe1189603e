"""Commands about the database: ``db upgrade``, ``db check``, ``db delete``."""

from __future__ import annotations

from typing import Annotated

import typer

from autotune.cli.options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    runs_directory,
    storage_url,
)
from autotune.cli.output import info, out, print_json

app = typer.Typer(help="Manage the results database.", no_args_is_help=True)


@app.command("upgrade")
def upgrade_schema(storage: StorageOption = None) -> None:
    """Upgrade the schema of the database to this version; results are kept."""
    from autotune.store import check, upgrade

    url = storage_url(storage)
    before = check(url)
    upgrade(url)
    info(f"schema {before.current or 'none'} -> {check(url).current}")


@app.command("check")
def check_schema(storage: StorageOption = None, json: JsonOption = False) -> None:
    """Check whether the schema of the database fits this version of autotune."""
    from dataclasses import asdict

    from autotune.store import check

    status = check(storage_url(storage))
    if json:
        print_json(asdict(status))
    else:
        out.print(f"{status.state}: schema {status.current or 'none'}, newest {status.head}")
    if status.state != "current":
        raise typer.Exit(1)


@app.command("delete")
def delete_study(
    study: StudyArgument,
    storage: StorageOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Delete a study and all its trials from the database, after a question."""
    from autotune.store import open_store

    store = open_store(storage_url(storage), create=False)
    try:
        count = store.count_trials(study)
        if not yes:
            question = f"Delete study {study} with {count} trials from {store}?"
            typer.confirm(question, abort=True, err=True)
        count = store.delete_study(study)
    finally:
        store.close()
    files = runs_directory() / study
    remains = f"; its files remain in {files}" if files.exists() else ""
    info(f"study {study} with {count} trials is deleted{remains}")
