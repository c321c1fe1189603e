"""Commands that write about studies: ``report diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.options import JsonOption, StorageOption, StudyArgument, reading_store
from autotune.cli.output import info, out, print_json
from autotune.report import FORMATS


def report(
    study: StudyArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [default: STUDY.html]")
    ] = None,
    kind: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")] = "html",
    storage: StorageOption = None,
) -> None:
    """Write a report: recommended trials, front, levers, method and all trials."""
    from autotune.analysis.snapshot import Snapshot
    from autotune.report.write import write_report

    target = output or Path(f"{study}.{kind}")
    with reading_store(storage) as store:
        snapshot = Snapshot(store.study(study), store.trials(study))
        environment = store.environment(study)
        has_evaluations = snapshot.study.task.evaluate_every is not None
        curves = store.curves(study) if has_evaluations else {}
    info(f"wrote {write_report(snapshot, environment, target, kind, curves)}")


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
    from autotune.analysis.snapshot import Snapshot
    from autotune.cli.tables import difference_listings
    from autotune.report.diff import compare_studies, compare_trials

    with reading_store(storage) as store:
        snapshot = Snapshot(store.study(study), store.trials(study))
        if second is None:
            other = Snapshot(store.study(first), store.trials(first))
            difference = compare_studies(snapshot, other)
        else:
            sides = [select_trial(snapshot.study, snapshot.trials, q) for q in (first, second)]
            difference = compare_trials(snapshot.study, *sides)
    if json:
        print_json(asdict(difference))
    else:
        out.print(difference_listings(difference))
