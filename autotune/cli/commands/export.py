"""Commands about exported folders and trainer configurations: ``export verify import``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from autotune.cli.options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    open_client,
    reading_store,
    runs_directory,
)
from autotune.cli.output import err, info, out, print_json
from autotune.components import EXPORT_FORMATS, STUDY_EXPORT_FORMATS, StudyExportFormat
from autotune.domain import Trial
from autotune.domain.metrics import Pick
from autotune.domain.registry import import_object
from autotune.domain.text import mask_passwords
from autotune.ports import StoreReader

if TYPE_CHECKING:
    from autotune.analysis.snapshot import Snapshot

STUDY_TARGETS = ", ".join(f"for {f.name}, {f.target}" for f in STUDY_EXPORT_FORMATS.values())


def export(
    study: StudyArgument,
    trial: Annotated[
        str,
        typer.Option(help=f"A number, knee, {', '.join(get_args(Pick))}, "
                          "or a condition: 'accuracy >= 0.9 then cheapest'."),
    ] = "knee",
    to: Annotated[
        str,
        typer.Option("--to", help=f"{', '.join(EXPORT_FORMATS)}; or, for all trials of the "
                                  f"study, {', '.join(STUDY_EXPORT_FORMATS)}."),
    ] = "hf-trainer",
    output: Annotated[
        str, typer.Option("--output", "-o", help=f"Folder to write; {STUDY_TARGETS}.")
    ] = "out",
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Omit settings that the format cannot express.")
    ] = False,
    all_rows: Annotated[
        bool, typer.Option("--all-rows", help="Export the rows beyond task.train_samples too.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace edited files and trained models.")
    ] = False,
    with_model: Annotated[
        bool, typer.Option("--with-model", help="Repeat the fine-tune and add the model.")
    ] = False,
    storage: StorageOption = None,
) -> None:  # fmt: skip
    """Write the strategy of one trial as a folder that a trainer runs."""
    from autotune.analysis.select import select_trial
    from autotune.analysis.snapshot import Snapshot
    from autotune.export import exporter

    if to in STUDY_EXPORT_FORMATS:
        _export_study(STUDY_EXPORT_FORMATS[to], study, output, storage)
        return
    options: dict[str, Any] = {
        "allow_partial": allow_partial,
        "overwrite": force,
        "all_rows": all_rows,
    }
    exporter(to, **options)  # an unknown format is an error before the study is read
    directory = Path(output)
    with reading_store(storage) as store:
        snapshot = Snapshot(store.study(study), store.trials(study))
        selected = select_trial(snapshot.study, snapshot.trials, trial)
        number, comparison = selected.number, snapshot.describe(selected)
        files = _export_trial(store, snapshot, selected, to, directory, options)
    document = _strategy_document(directory)
    _print_left_out(document)
    if with_model:
        files = _add_model(directory, snapshot.study.plugins)
    info(f"trial {number} of {study}: {comparison}")
    info(f"as {to}, {len(files)} files in:")
    out.print(str(directory), markup=False, soft_wrap=True)
    _print_next_steps(directory, document)


def _export_trial(
    store: StoreReader,
    snapshot: Snapshot,
    trial: Trial,
    to: str,
    directory: Path,
    options: Mapping[str, Any],
) -> Sequence[Path]:
    """Write the folder of a trial, here or on the service that has the study."""
    from autotune.export import exporter
    from autotune.export.directory import exported_files, replaced_export
    from autotune.export.trained import exported_model

    study = snapshot.study
    if (client := open_client()) is not None:
        with replaced_export(directory, options["overwrite"]) as folder:
            client.export(study.name, folder, trial=str(trial.number), to=to, **options)
        return exported_files(directory)
    model = exported_model(to, study, snapshot.trials, trial, runs_directory())
    target = exporter(to, comparison=snapshot.describe(trial), model=model, **options)
    return target.export(study, store.trial(study.name, trial.number), directory)


def _strategy_document(directory: Path) -> Mapping[str, Any]:
    """``strategy.json``; empty for formats without a script."""
    import json

    path = directory / "strategy.json"
    return json.loads(path.read_bytes()) if path.is_file() else {}


def _print_left_out(document: Mapping[str, Any]) -> None:
    for lever, reason in document.get("left_out", {}).items():
        err.print(f"LEFT OUT: {lever}: {reason}", style="bold red", markup=False)


def _print_next_steps(directory: Path, document: Mapping[str, Any]) -> None:
    from autotune.analysis.text import format_interval, format_metric

    if "exported" in document:
        for name, record in document.get("tested", {}).items():
            interval = format_interval(name, record["ci95"])
            precision = f"{interval}; " if interval else ""
            value = format_metric(name, record["value"])
            info(f"test split: {name} {value} ({precision}{record['n']:,} examples)")
        info(f"install: pip install -r {shlex.quote(str(directory / 'requirements.txt'))}")
        info(f"predict: cd {shlex.quote(str(directory))} && python predict.py --input texts.jsonl")
        info(f"check: autotune verify {shlex.quote(str(directory))}")
        info(f"latency under load: autotune bench {shlex.quote(str(directory))}")
        return
    command = document.get("command")
    if not command:
        return
    cap = document["task"]["train_samples"]
    if cap is not None:
        info(
            f"data/train.jsonl has the rows of the trial, at most {cap:,} (task.train_samples); "
            "--all-rows exports all"
        )
    info(f"install: pip install -r {shlex.quote(str(directory / 'requirements.txt'))}")
    info(f"train: cd {shlex.quote(str(directory))} && {shlex.join(command)}")


def _export_study(
    export_format: StudyExportFormat, study: str, target: str, storage: str | None
) -> None:
    write = import_object(export_format.write)
    with reading_store(storage) as store:
        count = write(store.study(study), store.trials(study), target)
    shown = mask_passwords(target)
    next_step = export_format.next_step.format(target=shlex.quote(shown))
    info(f"{count} trials of {study} in {shown}; see them with: {next_step}")


def _add_model(directory: Path, plugins: Sequence[str]) -> Sequence[Path]:
    from autotune.execution.local import LocalExecutor
    from autotune.export.checkpoint import add_model

    executor = LocalExecutor()
    try:
        with err.status("fine-tuning"):
            return add_model(directory, executor, plugins)
    finally:
        executor.close()


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An exported folder.")],
    runs: Annotated[int, typer.Option(min=1, help="Number of runs.")] = 1,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Run a folder with changed files."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run an exported script or model and compare it with the measurements of its trial."""
    from dataclasses import asdict

    from autotune.cli.tables import check_listing
    from autotune.deployment.artifact import is_artifact
    from autotune.export.verify import read_folder, require_unchanged
    from autotune.export.verify import verify as run_and_compare

    if not is_artifact(directory):
        read_folder(directory)
    if not allow_changes:
        require_unchanged(directory)
    if is_artifact(directory):
        from autotune.export.verify_artifact import verify_artifact as run_and_compare
    with err.status("running the exported command"):
        checks = run_and_compare(directory, runs)
    if json:
        print_json([{**asdict(c), "ratio": c.ratio, "held": c.passed} for c in checks])
    else:
        out.print(check_listing(checks))
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def import_(
    file: Annotated[Path, typer.Argument(
        metavar="FILE", help="TrainingArguments JSON, Accelerate YAML or DeepSpeed JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Study file to write.")],
    study: Annotated[str | None, typer.Option("--study", help="Name of the study.")] = None,
    as_baseline: Annotated[bool, typer.Option(
        "--as-baseline", help="Compare all trials with it, instead of the Trainer's default.",
    )] = False,
) -> None:  # fmt: skip
    """Make a study that starts from the configuration of a trainer."""
    from autotune.errors import UsageError
    from autotune.importers.study import read_configuration, study_file

    if output.exists():
        raise UsageError(f"{output} exists already", hint="give another path, or remove the file")
    imported = read_configuration(file)
    text = study_file(imported, study or output.stem, as_baseline=as_baseline)
    output.write_text(text, encoding="utf-8")
    for lever, value in imported.levers.items():
        info(f"{lever}: {value}")
    for key, reason in imported.skipped.items():
        err.print(f"not imported: {key}: {reason}", style="yellow", markup=False)
    path = shlex.quote(str(output))
    info(f"wrote {output}; set the model and data in it, then: autotune search {path}")
