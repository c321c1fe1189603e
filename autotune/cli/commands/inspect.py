"""Commands that read the store: ``studies status trials show pareto``."""

from __future__ import annotations

from typing import Annotated

import typer

from autotune.cli.options import JsonOption, StorageOption, StudyArgument, reading_store
from autotune.cli.output import out, print_json
from autotune.domain import State
from autotune.errors import UsageError


def register(app: typer.Typer) -> None:
    for command in (studies, status, trials, show, pareto):
        app.command()(command)


def studies(storage: StorageOption = None, json: JsonOption = False) -> None:
    """List the studies of a database."""
    from autotune.analysis.records import study_record
    from autotune.cli import tables

    with reading_store(storage) as store:
        records = [study_record(store.study(n), store.trials(n)) for n in store.studies()]
    if json:
        print_json(records)
    else:
        out.print(tables.studies(records))


def status(study: StudyArgument, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Say how far a study is, its best figures and what is running."""
    from autotune.analysis.records import status_record
    from autotune.cli import tables

    with reading_store(storage) as store:
        record = status_record(store.study(study), store.trials(study))
    if json:
        print_json(record)
    else:
        out.print(tables.status(record))


def trials(
    study: StudyArgument,
    storage: StorageOption = None,
    json: JsonOption = False,
    state: Annotated[
        str | None, typer.Option(help="Only trials in this state, such as complete.")
    ] = None,
) -> None:
    """List the trials of a study."""
    from autotune.analysis.records import trial_record
    from autotune.cli import tables

    states = None if state is None else [_state(state)]
    with reading_store(storage) as store:
        found, whole = store.trials(study, states=states), store.study(study)
    if json:
        print_json([trial_record(trial) for trial in found])
    else:
        out.print(tables.trials(whole, found))


def show(
    study: StudyArgument,
    number: Annotated[int, typer.Argument(help="Number of the trial.")],
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Show all that is known of one trial."""
    from autotune.analysis.records import full_trial_record
    from autotune.cli import tables

    with reading_store(storage) as store:
        whole, trial = store.study(study), store.trial(study, number)
        listed = store.trials(study)
    if json:
        print_json(full_trial_record(trial, listed))
    else:
        out.print(tables.trial(whole, trial, listed))


def pareto(study: StudyArgument, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Show the Pareto front: the trials that no other beats in every objective."""
    from autotune.analysis.records import pareto_record
    from autotune.cli import front

    with reading_store(storage) as store:
        whole, found = store.study(study), store.trials(study)
    if json:
        print_json(pareto_record(whole, found))
    else:
        front.print_front(whole, found)


def _state(text: str) -> State:

    try:
        return State(text)
    except ValueError:
        raise UsageError(f"no state {text!r}", hint=f"valid: {', '.join(State)}") from None
