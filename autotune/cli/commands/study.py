"""Commands around the study file: ``validate init hardware``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.options import JsonOption, SetOption, SpecArgument
from autotune.cli.output import info, out, print_json
from autotune.errors import NotFoundError, UsageError


def register(app: typer.Typer) -> None:
    for command in (validate, init, hardware):
        app.command()(command)


def bundled_studies() -> Path:
    """The folder of named studies: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    inside = package / "_search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def resolve_study_path(file: str) -> Path:
    """The study file of this path, or the shipped one of this name."""
    path = Path(file)
    if path.is_file():
        return path
    named = bundled_studies() / path.name
    named = named if named.suffix == ".yaml" else named.with_name(f"{named.name}.yaml")
    if named.is_file() and path.parent.name in ("", "search_spaces"):
        return named
    names = ", ".join(sorted(p.stem for p in bundled_studies().glob("*.yaml")))
    raise NotFoundError(
        f"no study file {file}", hint=f"give a path, or one of the shipped studies: {names}"
    )


def validate(
    file: SpecArgument,
    override: SetOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each lever searches, and why not more.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check a study file; every mistake is shown at once with its place."""
    from autotune import spec
    from autotune.hardware import inventory

    path, overrides = resolve_study_path(file), override or []
    host = inventory()
    loaded = spec.load(path, host=host, overrides=overrides)
    if json:
        print_json(asdict(spec.explain(loaded, host)))
        return
    info(f"{path}: valid")
    if explain:
        from autotune.cli.tables import explained

        out.print(explained(spec.explain(loaded, host)))


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml"),
    study: Annotated[str | None, typer.Option(help="Name of the study.")] = None,
) -> None:
    """Write a commented starter study file."""
    from autotune import spec

    if path.exists():
        raise UsageError(f"{path} exists", hint="give another path, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spec.starter(study or path.stem), encoding="utf-8")
    info(f"wrote {path}; edit it, then: autotune search {path}")


def hardware(json: JsonOption = False) -> None:
    """Show this host and which settings of each lever it can run."""
    from autotune.cli.tables import hardware_record, hardware_tables
    from autotune.hardware import inventory

    host = inventory()
    if json:
        print_json(hardware_record(host))
    else:
        out.print(hardware_tables(host))
