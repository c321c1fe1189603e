"""Commands about the schema of the database: ``db upgrade``, ``db check``."""

from __future__ import annotations

import typer

from autotune.cli.options import JsonOption, StorageOption, storage_url
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
