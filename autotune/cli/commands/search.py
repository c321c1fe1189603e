"""The commands ``search`` and ``resume``: parse options, run a search session, print its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Annotated

import typer

from autotune.cli.executors import open_executor
from autotune.cli.interrupts import interruptible
from autotune.cli.options import (
    AddressOption,
    ExecutorOption,
    SetOption,
    SharingOption,
    SpecArgument,
    StorageOption,
    StudyArgument,
    WarmStartOption,
    is_given,
    open_client,
    runs_directory,
    storage_option,
    storage_url,
)
from autotune.cli.output import EXIT_INTERRUPTED, err, info
from autotune.cli.remote import resume_remotely, search_remotely
from autotune.domain import Host, Study, Task
from autotune.domain.datasets import TRAINER_DATASET
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import AutotuneError, UsageError
from autotune.ports import Executor

LogOption = Annotated[
    list[str] | None,
    typer.Option("--log-to", help="Also log to tensorboard, mlflow or wandb. Can be repeated."),
]


def search(
    context: typer.Context,
    file: SpecArgument,
    study: Annotated[
        str | None, typer.Option("--study", help="Name of the study, instead of that in the file.")
    ] = None,
    override: SetOption = None,
    storage: StorageOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    no_sharing: SharingOption = False,
    warm_start: WarmStartOption = None,
    log_to: LogOption = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            metavar="CONDITION",
            help="Search one confirmed answer that satisfies this: 'accuracy >= baseline - 0.01'.",
        ),
    ] = None,
    maximize: Annotated[
        str | None, typer.Option(metavar="METRIC", help="The metric of that answer to maximize.")
    ] = None,
    minimize: Annotated[
        str | None, typer.Option(metavar="METRIC", help="The metric of that answer to minimize.")
    ] = None,
) -> None:
    """Search a study file. Continues an existing study of the same name."""
    from autotune import spec
    from autotune.cli.commands.study import resolve_study_path
    from autotune.spec.yaml import write_scalar

    overrides = _overrides(override, executor, address, no_sharing)
    overrides += [f"study={write_scalar(study)}"] if study else []
    overrides += [f"warm_start={write_scalar(warm_start)}"] if warm_start else []
    overrides += _goal_overrides(require or [], maximize, minimize)
    path = resolve_study_path(file)
    if (client := open_client()) is not None:
        _require_local_options(context, log_to)
        with client:
            search_remotely(client, path, overrides)
        return
    if storage is not None and is_given(context, "storage"):
        _require_server(storage)
    with open_executor(spec.executor(path, overrides=overrides)) as (runner, host):
        loaded = spec.load(path, host=host, overrides=overrides)
        for left_out in loaded.skipped:
            info(f"{left_out.lever}: {left_out.value} is left out: {left_out.reason}")
        url = storage if is_given(context, "storage") else loaded.storage or storage
        _search(loaded.study, url, runner, host, log_to or [])


def resume(
    context: typer.Context,
    study: StudyArgument,
    override: SetOption = None,
    storage: StorageOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    no_sharing: SharingOption = False,
    log_to: LogOption = None,
) -> None:
    """Continue a study that ended or was killed. Raise its budget with --set."""
    from autotune import spec
    from autotune.spec.yaml import write
    from autotune.store import open_store

    if (client := open_client()) is not None:
        _require_local_options(context, log_to)
        with client:
            resume_remotely(client, study, _overrides(override, executor, address, no_sharing))
        return
    url = storage_url(storage)
    store = open_store(url, create=False)
    try:
        stored = store.study(study)
    finally:
        store.close()
    if str(stored.task.dataset).startswith(TRAINER_DATASET):
        raise UsageError(
            f"study {study} is one of a Trainer, which this command does not have",
            hint=f"call autotune.tune again with name={study!r}",
        )
    text = write(stored.spec)
    overrides = _overrides(override, executor, address, no_sharing)
    with open_executor(spec.executor(text, overrides=overrides)) as (runner, host):
        resumed = spec.load(text, host=host, overrides=overrides).study
        _search(resumed, url, runner, host, log_to or [])


def _require_local_options(context: typer.Context, log_to: Sequence[str] | None) -> None:
    """Refuse options that a service does not know."""
    options = {"--storage": is_given(context, "storage"), "--log-to": bool(log_to)}
    for name in (name for name, is_set in options.items() if is_set):
        raise UsageError(f"{name} has no meaning with --remote", hint="leave one of them out")


def _require_server(url: str) -> None:
    """Check that a database server is available before workers are started, which takes longer."""
    if url.startswith("postgres"):
        from autotune.store import open_store

        open_store(url).close()


def _goal_overrides(
    require: Sequence[str], maximize: str | None, minimize: str | None
) -> list[str]:
    """``--require``, ``--maximize`` and ``--minimize`` as an override of the section ``goal``."""
    from autotune.spec.yaml import write_scalar

    if require and maximize is None and minimize is None:
        raise UsageError(
            "--require says what an answer must satisfy, not what is best",
            hint="add --maximize train_samples_per_second, or another metric",
        )
    metrics = {"maximize": maximize, "minimize": minimize}
    goal = [f"{key}: {write_scalar(name)}" for key, name in metrics.items() if name is not None]
    if require:
        goal.append(f"require: [{', '.join(map(write_scalar, require))}]")
    return [f"goal={{{', '.join(goal)}}}"] if goal else []


def _overrides(
    settings: Sequence[str] | None, executor: str | None, address: str | None, no_sharing: bool
) -> list[str]:
    """The values of ``--set``, and those of the options that are short forms of it."""
    from autotune.spec.yaml import write_scalar

    overrides = [*(settings or []), *(["sharing=false"] if no_sharing else [])]
    if executor == "local":
        # Replace the section, so that it does not keep the address of a cluster.
        own = [text for text in overrides if text.startswith("executor.")]
        overrides += ["executor=local", *own]
    elif executor is not None:
        overrides.append(f"executor.kind={write_scalar(executor)}")
    return [*overrides, *([f"executor.address={write_scalar(address)}"] if address else [])]


def _search(
    study: Study, storage: str | None, executor: Executor, host: Host, log_to: Sequence[str]
) -> None:
    """Search with progress on the terminal, then print the front."""
    from autotune.analysis.snapshot import Snapshot
    from autotune.cli.front import print_front, print_next_steps
    from autotune.cli.live import LiveView
    from autotune.store import open_driver_store
    from autotune.tracking import CompositeObserver, TrackerGroup
    from autotune.tuner.session import SearchSession

    directory = runs_directory()
    tracking = TrackerGroup(log_to, study, directory)
    store = open_driver_store(storage_url(storage), directory / ".journal", clock=executor.clock)
    with closing(store):
        session = SearchSession(study, store, executor, host, directory=directory)
        with err.status("preparing model and data"):
            prepared = session.prepare()
        if prepared is not None:
            labels = prepared.label_names if TASK_KINDS[prepared.kind].has_labels else ()
            _print_task(study.task, prepared.sizes, labels, prepared.notes)
        if (stored := session.create_or_continue()) is not None:
            info(f"continuing study {study.name}: {stored} trials are stored")
        study = session.study  # estimates depend on its data: those of pareto are the same
        with session.acquire() as trials, LiveView(Snapshot(study, trials)) as view:
            observer = CompositeObserver((view, tracking))
            with interruptible(session.stop, session.abort):
                result = session.run(observer)
    info(f"search ended: {result.reason}")
    if result.models is not None:
        info(f"models: {result.models}")
    tracking.close(study, result.trials)
    snapshot, stored_at = Snapshot(study, result.trials), storage_option(storage)
    print_front(snapshot)
    print_next_steps(snapshot, stored_at)
    if result.is_interrupted:
        resume_command = f"autotune resume {study.name}{stored_at}"
        message = f"interrupted; continue with: {resume_command}"
        err.print(message, style="yellow", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.failure is not None:
        raise AutotuneError(
            result.failure,
            hint=f"read the log, mend the cause, then autotune resume {study.name}{stored_at}",
        )
    if not result.has_completed_trial:
        raise AutotuneError(
            "no trial completed",
            hint=f"autotune trials {study.name}{stored_at} shows the reason for each",
        )


def _print_task(
    task: Task, sizes: Mapping[str, int], labels: Sequence[str], notes: Sequence[str]
) -> None:
    splits = ", ".join(f"{count} {split}" for split, count in sizes.items())
    files = task.dataset
    data = files if isinstance(files, str) else files.get("hub") or files["train"]
    count = f", {len(labels)} labels" if labels else ""
    info(f"task: {task.model} on {data}: {splits} examples{count}")
    for note in notes:
        info(f"task: {note}")
