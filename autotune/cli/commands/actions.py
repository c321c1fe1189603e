"""Commands that act on stored results: ``export verify import report diff dashboard db``."""

from __future__ import annotations

from collections.abc import Sequence
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
from autotune.cli.output import err, info, out, print_json

database = typer.Typer(help="Look after the database of results.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(verify)
    app.command("import")(import_)
    app.command()(report)
    app.command()(diff)
    app.command()(dashboard)
    app.add_typer(database, name="db")


def export(
    study: StudyArgument,
    trial: Annotated[
        str,
        typer.Option(help="A number, knee, fastest, most-accurate, cheapest, "
                          "or 'accuracy >= 0.9 then cheapest'."),
    ] = "knee",
    to: Annotated[
        str,
        typer.Option("--to", help="hf-trainer, accelerate, deepspeed, torchrun, lightning, "
                                  "ray-train, slurm, yaml; or optuna: the whole study."),
    ] = "hf-trainer",
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder to write; for optuna, a database URL.")
    ] = "out",
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Leave out what the format cannot express.")
    ] = False,
    with_model: Annotated[
        bool, typer.Option("--with-model", help="Fine-tune again and add the model.")
    ] = False,
    storage: StorageOption = None,
) -> None:  # fmt: skip
    """Write one trial's strategy as a folder that a trainer runs."""
    from autotune.analysis.select import select_trial
    from autotune.export import exporter

    if to == "optuna":
        _export_optuna(study, output, storage)
        return
    chosen_exporter, directory = exporter(to, allow_partial=allow_partial), Path(output)
    with reading_store(storage) as store:
        whole = store.study(study)
        number = select_trial(whole, store.trials(study), trial).number
        files = chosen_exporter.export(whole, store.trial(study, number), directory)
    _warn_of_what_is_left_out(directory)
    if with_model:
        files = _add_model(directory)
    info(f"trial {number} of {study} as {to}:")
    for file in files:
        out.print(str(file), markup=False, soft_wrap=True)


def _export_optuna(study: str, url: str, storage: str | None) -> None:
    from autotune.export.optuna_study import write_study

    with reading_store(storage) as store:
        trials = store.trials(study)
        count = write_study(store.study(study), trials, url)
    info(f"{count} trials of {study} in {url}; see them with: optuna-dashboard {url}")


def _warn_of_what_is_left_out(directory: Path) -> None:
    import json

    document = directory / "strategy.json"
    missing = json.loads(document.read_bytes())["left_out"] if document.is_file() else {}
    for lever, reason in missing.items():
        err.print(f"LEFT OUT: {lever}: {reason}", style="bold red", markup=False)


def _add_model(directory: Path) -> Sequence[Path]:
    from autotune.execution.local import LocalExecutor
    from autotune.export.checkpoint import add_model

    executor = LocalExecutor()
    try:
        with err.status("fine-tuning"):
            return add_model(directory, executor)
    finally:
        executor.close()


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An exported folder.")],
    runs: Annotated[int, typer.Option(min=1, help="How often to run it.")] = 1,
    json: JsonOption = False,
) -> None:
    """Run an exported folder for real and hold it to what its trial measured."""
    from dataclasses import asdict

    from autotune.cli.tables import checks as table
    from autotune.export.checksums import changed
    from autotune.export.verify import read_folder
    from autotune.export.verify import verify as run_and_compare

    read_folder(directory)
    for name in changed(directory):
        err.print(f"changed since the export: {name}", style="yellow", markup=False)
    with err.status("running the exported command"):
        checks = run_and_compare(directory, runs)
    if json:
        print_json([{**asdict(c), "ratio": c.ratio, "held": c.held} for c in checks])
    else:
        out.print(table(checks))
    if not all(check.held for check in checks):
        raise typer.Exit(1)


def import_(
    file: Annotated[Path, typer.Argument(
        metavar="FILE", help="TrainingArguments JSON, Accelerate YAML or DeepSpeed JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Study file to write.")],
    study: Annotated[str | None, typer.Option("--study", help="Name of the study.")] = None,
) -> None:  # fmt: skip
    """Make a study that starts from a trainer's own configuration."""
    from autotune.errors import UsageError
    from autotune.importers.study import read_configuration, study_file

    if output.exists():
        raise UsageError(f"{output} exists", hint="give another path, or remove it first")
    imported = read_configuration(file)
    output.write_text(study_file(imported, study or output.stem), encoding="utf-8")
    for lever, value in imported.levers.items():
        info(f"{lever}: {value}")
    for key, reason in imported.left.items():
        err.print(f"not taken: {key}: {reason}", style="yellow", markup=False)
    info(f"wrote {output}; name your model and data in it, then: autotune search {output}")


def report(
    study: StudyArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [default: STUDY.html]")
    ] = None,
    kind: Annotated[str, typer.Option("--format", help="html, md or pdf.")] = "html",
    storage: StorageOption = None,
) -> None:
    """Write a study as one page: front, recommendations, levers, method and all trials."""
    from autotune.report import write_report

    target = output or Path(f"{study}.{kind}")
    with reading_store(storage) as store:
        written = write_report(
            store.study(study), store.trials(study), store.environment(study), target, kind
        )
    info(f"wrote {written}")


def diff(
    study: StudyArgument,
    first: Annotated[str, typer.Argument(metavar="A", help="A trial, or another study.")],
    second: Annotated[str | None, typer.Argument(metavar="B", help="Another trial.")] = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two trials of a study, or two studies: autotune diff STUDY OTHER."""
    from dataclasses import asdict

    from autotune.analysis.select import select_trial
    from autotune.cli.tables import difference as table
    from autotune.report.diff import compare_studies, compare_trials

    with reading_store(storage) as store:
        whole, trials = store.study(study), store.trials(study)
        if second is None:
            other = store.study(first)
            found = compare_studies(whole, trials, other, store.trials(first))
        else:
            a, b = (select_trial(whole, trials, query) for query in (first, second))
            found = compare_trials(whole, a, b)
    if json:
        print_json(asdict(found))
    else:
        out.print(table(found))


def dashboard(
    storage: StorageOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
) -> None:
    """Open the dashboard: the front, every trial, and what each lever does."""
    from autotune.cli.commands.dashboard import serve

    serve(storage_url(storage), host=host, port=port)


@database.command("upgrade")
def db_upgrade(storage: StorageOption = None) -> None:
    """Bring the database's schema up to this version; results are kept."""
    from autotune.store import check, upgrade

    url = storage_url(storage)
    before = check(url)
    upgrade(url)
    info(f"schema {before.current or 'none'} -> {check(url).current}")


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
