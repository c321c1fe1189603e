"""Commands that read the store: ``studies status trials show pareto``."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from autotune.cli.options import JsonOption, StorageOption, StudyArgument, reading_store
from autotune.cli.output import info, out, print_json
from autotune.domain import State
from autotune.domain.metrics import Pick
from autotune.errors import DamagedStudyError, UsageError


def studies(storage: StorageOption = None, json: JsonOption = False) -> None:
    """List the studies of a database."""
    from autotune.analysis.records import study_record
    from autotune.cli.tables import study_listing

    records = []
    with reading_store(storage) as store:
        for name in store.studies():
            try:
                study, trials = store.study(name), store.trials(name)
                records.append(study_record(study, trials, search=store.search_status(name)))
            except DamagedStudyError as error:
                info(f"study {name} is left out: {error.message}")
    if json:
        print_json(records)
    else:
        out.print(study_listing(records))


def status(study: StudyArgument, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Show the progress of a study, its best values and the running trials."""
    from autotune.analysis.records import status_record
    from autotune.cli.tables import status_lines

    with reading_store(storage) as store:
        target, trials = store.study(study), store.trials(study)
        record = status_record(target, trials, search=store.search_status(study))
    if json:
        print_json(record)
    else:
        out.print(status_lines(record))


def trials(
    study: StudyArgument,
    storage: StorageOption = None,
    json: JsonOption = False,
    state: Annotated[
        str | None, typer.Option(help="Only trials in this state, such as complete.")
    ] = None,
) -> None:
    """List the trials of a study."""
    from autotune.analysis.records import trial_records
    from autotune.analysis.snapshot import Snapshot
    from autotune.cli.trials import trial_listing

    states = list(State) if state is None else [_parse_state(state)]
    with reading_store(storage) as store:
        snapshot = Snapshot(store.study(study), store.trials(study))
    selected = [trial for trial in snapshot.trials if trial.state in states]
    if json:
        print_json(trial_records(snapshot, selected))
    else:
        out.print(trial_listing(snapshot, selected))


def show(
    study: StudyArgument,
    number: Annotated[
        str, typer.Argument(metavar="TRIAL", help=f"A number, knee, {', '.join(get_args(Pick))}.")
    ],
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Show all details of one trial."""
    from autotune.analysis.records import show_record
    from autotune.analysis.select import find_trial_number
    from autotune.analysis.snapshot import Snapshot
    from autotune.cli.trials import trial_details

    with reading_store(storage) as store:
        snapshot = Snapshot(store.study(study), store.trials(study))
        trial = store.trial(study, find_trial_number(snapshot.study, snapshot.trials, number))
    if json:
        print_json(show_record(snapshot, trial))
    else:
        out.print(trial_details(snapshot, trial))


def pareto(study: StudyArgument, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Show the Pareto front: the trials that no other trial dominates."""
    from autotune.analysis.records import pareto_record
    from autotune.analysis.snapshot import Snapshot
    from autotune.cli.front import print_front

    with reading_store(storage) as store:
        snapshot = Snapshot(store.study(study), store.trials(study))
    if json:
        print_json(pareto_record(snapshot.study, snapshot.trials))
    else:
        print_front(snapshot)


def _parse_state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        raise UsageError(f"no state {text!r}", hint=f"valid: {', '.join(State)}") from None
