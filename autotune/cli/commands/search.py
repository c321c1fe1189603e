"""``search`` and ``resume``: wire hardware, study, store, sampler and executor; run the loop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import typer
import yaml

from autotune.cli.executors import open_executor
from autotune.cli.options import (
    AddressOption,
    ExecutorOption,
    SetOption,
    SharingOption,
    SpecArgument,
    StorageOption,
    StudyArgument,
    WarmStartOption,
    runs_directory,
    storage_option,
    storage_url,
)
from autotune.cli.output import err, info
from autotune.domain import Host, State, Study, WorkloadProfile
from autotune.errors import AutotuneError, IncompatibleStudyError, UsageError
from autotune.ports import Executor, Store

INTERRUPTED = 130

OUTAGE_SECONDS = 600.0
"""How long a search waits for a database server that is away."""

LogOption = Annotated[
    list[str] | None,
    typer.Option("--log-to", help="Also write to tensorboard, mlflow or wandb; may be repeated."),
]


def register(app: typer.Typer) -> None:
    app.command()(search)
    app.command()(resume)


def search(
    file: SpecArgument,
    study: Annotated[
        str | None, typer.Option("--study", help="Name to store it under, if not the file's own.")
    ] = None,
    override: SetOption = None,
    storage: StorageOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    no_sharing: SharingOption = False,
    warm_start: WarmStartOption = None,
    log_to: LogOption = None,
) -> None:
    """Search a study file; an existing study of the same name is continued."""
    from autotune import spec
    from autotune.cli.commands.study import resolve_study_path

    overrides = _overrides(override, executor, address, no_sharing)
    overrides += [f"study={study}"] if study else []
    overrides += [f"warm_start={warm_start}"] if warm_start else []
    path = resolve_study_path(file)
    if storage is not None:
        _require_server(storage)
    with open_executor(spec.executor(path, overrides=overrides)) as (runner, host):
        loaded = spec.load(path, host=host, overrides=overrides)
        for left_out in loaded.notes:
            info(f"{left_out.lever}: {left_out.value} is left out: {left_out.reason}")
        run_search(loaded.study, storage or loaded.storage, runner, host, log_to or [])


def resume(
    study: StudyArgument,
    override: SetOption = None,
    storage: StorageOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    no_sharing: SharingOption = False,
    log_to: LogOption = None,
) -> None:
    """Continue a study where it ended or was killed; --set raises its budget."""
    from autotune import spec
    from autotune.store import open_store

    url = storage_url(storage)
    store = open_store(url, create=False)
    try:
        stored = store.study(study)
    finally:
        store.close()
    text = yaml.safe_dump(dict(stored.spec), sort_keys=False)
    overrides = _overrides(override, executor, address, no_sharing)
    with open_executor(spec.executor(text, overrides=overrides)) as (runner, host):
        again = spec.load(text, host=host, overrides=overrides).study
        run_search(again, url, runner, host, log_to or [])


def _require_server(url: str) -> None:
    """Say that a database server cannot be used before machines are hired, which takes longer."""
    if url.startswith("postgres"):
        from autotune.store import open_store

        open_store(url).close()


def _overrides(
    given: Sequence[str] | None, executor: str | None, address: str | None, no_sharing: bool
) -> list[str]:
    """``--set`` and the options that are short for it."""
    found = [*(given or []), *(["sharing=false"] if no_sharing else [])]
    if executor == "local":
        # A whole section, so that the address of a cluster does not linger in it.
        asked = [text for text in found if text.startswith("executor.")]
        found += ["executor=local", *asked]
    elif executor is not None:
        found.append(f"executor.kind={executor}")
    return [*found, *([f"executor.address={address}"] if address else [])]


def run_search(
    study: Study, storage: str | None, executor: Executor, host: Host, log_to: Sequence[str]
) -> None:
    from autotune.cli.front import print_front, print_next_steps
    from autotune.cli.live import LiveView
    from autotune.search.feasibility.filter import FeasibilityFilter
    from autotune.search.samplers.optuna import make_sampler
    from autotune.search.tuner import Tuner
    from autotune.search.warm_start import load_source_study
    from autotune.store import open_driver_store
    from autotune.tracking import CompositeObserver, TrackerGroup
    from autotune.trial.entry import evaluate

    tracking = TrackerGroup(log_to, study, runs_directory())
    clock = getattr(executor, "clock", None)  # of one that simulates time
    store = open_driver_store(storage_url(storage), runs_directory() / ".journal", clock=clock)
    single_driver = store.single_driver
    try:
        warm_start = load_source_study(store, study, host)
        require_compatible(store, study)
        anatomy = _prepare(executor, study) if clock is None else getattr(executor, "anatomy", None)
        create_or_continue_study(store, study, host)
        with store.acquire_driver(study.name):
            stale_after = None if single_driver else study.executor.takeover_seconds
            store.interrupt_running(study.name, stale_seconds=stale_after)
            feasibility = None
            if anatomy is not None:
                feasibility = FeasibilityFilter(
                    study, host, anatomy, lambda trial: store.trial(study.name, trial.number)
                )
            history = store.trials(study.name)
            with LiveView(study, history) as view:
                tuner = Tuner(
                    study, store, make_sampler(study, anatomy), executor, host,
                    directory=runs_directory(), observer=CompositeObserver((view, tracking)),
                    outage_seconds=0.0 if single_driver else OUTAGE_SECONDS, now=clock or _now,
                    begin_with=warm_start, feasibility=feasibility,
                )  # fmt: skip
                with _interruptible(tuner.stop, executor.stop) as presses:
                    reason = tuner.run(evaluate)
        info(f"search ended: {reason}")
        trials = store.trials(study.name)
        tracking.close(study, trials)
        print_front(study, trials)
        stored_at = storage_option(storage)
        print_next_steps(study, trials, stored_at)
        if presses:
            again = f"autotune resume {study.name}{stored_at}"
            err.print(f"interrupted; continue with: {again}", style="yellow")
            raise typer.Exit(INTERRUPTED)
        if not any(trial.state is State.COMPLETE for trial in trials):
            raise AutotuneError(
                "no trial completed",
                hint=f"autotune trials {study.name}{stored_at} says why of each",
            )
    finally:
        store.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _prepare(executor: Executor, study: Study) -> WorkloadProfile:
    """Fetch and tokenise once, so that a mistake in the data shows before any trial runs, and
    before the study has a place in the store."""
    from autotune.trial.data.datasets import prepare
    from autotune.trial.workload import describe

    with err.status("preparing model and data"):
        prepared = executor.call(prepare, study.task)
        anatomy = executor.call(describe, study.task)
    sizes = ", ".join(f"{n} {split}" for split, n in prepared.sizes.items())
    data = study.task.dataset
    name = data if isinstance(data, str) else data["train"]
    info(f"task: {study.task.model} on {name}: {sizes} examples, {prepared.num_labels} labels")
    for remark in prepared.notes:
        info(f"task: {remark}")
    return anatomy


def require_compatible(store: Store, study: Study) -> None:
    """Raise :class:`IncompatibleStudyError` where a study of this name asks another question."""
    from autotune import spec

    if study.name not in store.studies():
        return
    differences = spec.incompatibilities(store.study(study.name), study)
    if differences:
        raise IncompatibleStudyError(
            f"study {study.name} exists and asks another question:\n  " + "\n  ".join(differences),
            hint=f"use another name (--study {study.name}-2) or undo the difference",
        )


def create_or_continue_study(store: Store, study: Study, host: Host) -> None:
    """Create the study, or continue the one of this name."""
    from autotune.hardware import environment

    if study.name not in store.studies():
        try:
            store.create_study(study, environment(host))
            return
        except UsageError:
            pass  # another driver was faster, perhaps with another question
    require_compatible(store, study)
    store.update_study(study)
    store.record_environment(study.name, environment(host))
    info(f"continuing study {study.name}: {len(store.trials(study.name))} trials are stored")


@contextmanager
def _interruptible(
    finish: Callable[[str], None], end: Callable[[], None]
) -> Iterator[Sequence[int]]:
    """The first Ctrl-C finishes what runs, the second ends it; both save everything."""
    interrupts: list[int] = []

    def pressed(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        if len(interrupts) == 1:
            finish("interrupted")
            err.print("finishing the running trial; Ctrl-C again ends it now", style="yellow")
        else:
            end()

    before = {s: signal.signal(s, pressed) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
