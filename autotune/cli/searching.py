"""``search`` and ``resume``: wire hardware, study, store, sampler and executor; run the loop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
import yaml

from autotune.cli.options import (
    SetOption,
    SpecArgument,
    StorageOption,
    StudyArgument,
    runs_directory,
    storage_url,
)
from autotune.cli.output import err, note
from autotune.domain import ExecutorChoice, Host, State, Study
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
    log_to: LogOption = None,
) -> None:
    """Search a study file; an existing study of the same name is continued."""
    from autotune import spec
    from autotune.cli.studyfile import locate

    overrides = [*(override or []), *([f"study={study}"] if study else [])]
    with _executor() as executor:
        host = _hardware(executor)
        loaded = spec.load(locate(file), host=host, overrides=overrides)
        for left_out in loaded.notes:
            note(f"{left_out.lever}: {left_out.value} is left out: {left_out.reason}")
        _run(loaded.study, storage or loaded.storage, executor, host, log_to or [])


def resume(
    study: StudyArgument,
    override: SetOption = None,
    storage: StorageOption = None,
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
    with _executor() as executor:
        host = _hardware(executor)
        again = spec.load(text, host=host, overrides=override or []).study
        _run(again, url, executor, host, log_to or [])


def _run(
    study: Study, storage: str | None, executor: Executor, host: Host, log_to: Sequence[str]
) -> None:
    from autotune.cli.front import print_front, print_next_steps
    from autotune.cli.live import LiveView
    from autotune.search.sampler import make_sampler
    from autotune.search.tuner import Tuner
    from autotune.store import open_store
    from autotune.tracking import Together, Tracking
    from autotune.trial.entry import evaluate

    tracking = Tracking(log_to, study, runs_directory())
    store = open_store(storage_url(storage))
    try:
        _record(store, study, host)
        with store.acquire_driver(study.name):
            store.interrupt_running(study.name)
            _prepare(executor, study)
            history = store.trials(study.name)
            with LiveView(study, history) as view:
                tuner = Tuner(
                    study, store, make_sampler(study), executor, host,
                    directory=runs_directory(), observer=Together((view, tracking)),
                )  # fmt: skip
                with _interruptible(tuner.stop, executor.stop) as presses:
                    reason = tuner.run(evaluate)
        note(f"search ended: {reason}")
        trials = store.trials(study.name)
        tracking.close(study, trials)
        print_front(study, trials)
        print_next_steps(study, trials)
        if presses:
            err.print(f"interrupted; continue with: autotune resume {study.name}", style="yellow")
            raise typer.Exit(INTERRUPTED)
        if not any(trial.state is State.COMPLETE for trial in trials):
            raise AutotuneError(
                "no trial completed", hint=f"autotune trials {study.name} says why of each"
            )
    finally:
        store.close()


@contextmanager
def _hired(choice: ExecutorChoice) -> Iterator[tuple[Executor, Host]]:
    """The executor, warming up while the study file is read, and the hardware that it has."""
    executor, hardware = _ray(choice) if choice.kind == "ray" else _local(choice)
    try:
        host = hardware()
        note(describe(host))
        yield executor, host
    finally:
        executor.close()


def _local(choice: ExecutorChoice) -> tuple[Executor, Callable[[], Host]]:
    from autotune.execution.local import LocalExecutor
    from autotune.hardware import inventory, may_have_gpu

    executor = LocalExecutor(choice.workers)
    # torch, where it has to be asked, is loaded in a worker, never here
    return executor, lambda: executor.call(inventory) if may_have_gpu() else inventory()


def _ray(choice: ExecutorChoice) -> tuple[Executor, Callable[[], Host]]:
    from autotune.execution.ray import RayExecutor
    from autotune.hardware import roomiest

    executor = RayExecutor(choice.workers, address=choice.address)

    def hardware() -> Host:
        found = executor.hosts()
        for name, host in found:
            note(f"node{f' of class {name}' if name else ''}: {describe(host)}")
        return roomiest([host for _, host in found])

    return executor, hardware


def describe(host: Host) -> str:
    """The hardware in one line."""
    gpus = [f"{device.name} ({device.memory_gib:g} GiB)" for device in host.devices
            if device.kind == "cuda" and device.memory_gib]  # fmt: skip
    gpus += [device.name or device.id for device in host.devices if device.kind == "mps"]
    bf16 = next((flag for flag in host.cpu_flags if "bf16" in flag), None)
    parts = [
        f"{len(host.cores)} cores of {host.cpu or 'an unknown CPU'}",
        f"{host.memory_gib:g} GiB",
        ", ".join(gpus) or "no GPU",
        *([f"bf16 by {bf16}"] if bf16 else []),
    ]
    return "hardware: " + ", ".join(parts)


def _prepare(executor: Executor, study: Study) -> None:
    """Fetch and tokenise once, so that a mistake in the data shows before any trial runs."""
    from autotune.trial.data import prepare

    with err.status("preparing model and data"):
        prepared = executor.call(prepare, study.task)
    sizes = ", ".join(f"{n} {split}" for split, n in prepared.sizes.items())
    data = study.task.dataset
    name = data if isinstance(data, str) else data["train"]
    note(f"task: {study.task.model} on {name}: {sizes} examples, {prepared.num_labels} labels")


def _record(store: Store, study: Study, host: Host) -> None:
    """Create the study, or continue the one of this name if it asks the same question."""
    from autotune import spec
    from autotune.hardware import environment

    if study.name not in store.studies():
        try:
            store.create_study(study, environment(host))
            return
        except UsageError:
            pass  # another driver was faster
    differences = spec.compatible(store.study(study.name), study)
    if differences:
        raise IncompatibleStudyError(
            f"study {study.name} exists and asks another question:\n  " + "\n  ".join(differences),
            hint=f"use another name (--study {study.name}-2) or undo the difference",
        )
    store.update_study(study)
    store.record_environment(study.name, environment(host))
    note(f"continuing study {study.name}: {len(store.trials(study.name))} trials are stored")


@contextmanager
def _interruptible(
    finish: Callable[[str], None], end: Callable[[], None]
) -> Iterator[Sequence[int]]:
    """The first Ctrl-C finishes what runs, the second ends it; both save everything."""
    presses: list[int] = []

    def pressed(number: int, frame: FrameType | None) -> None:
        presses.append(number)
        if len(presses) == 1:
            finish("interrupted")
            err.print("finishing the running trial; Ctrl-C again ends it now", style="yellow")
        else:
            end()

    before = {s: signal.signal(s, pressed) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield presses
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
