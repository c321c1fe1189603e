"""Runs a search from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune import spec
from autotune.api.callbacks import Callback
from autotune.api.components import Component, register, send_components
from autotune.api.output import observe, quiet_unless
from autotune.api.result import Result, load
from autotune.api.study import Study
from autotune.errors import AutotuneError
from autotune.spec.overrides import write_overrides


def search(
    study: Study | Mapping[str, Any] | str | Path,
    *,
    storage: str | None = None,
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    components: Sequence[Component] = (),
    progress: bool = True,
) -> Result:
    """Search a study, or continue the stored study of this name.

    ``study`` is a :class:`Study`, a document with the keys of a study file, or the path of a file.
    ``storage`` is a SQLAlchemy URL, by default that of ``AUTOTUNE_STORAGE`` or
    ``sqlite:///autotune.db``. ``settings`` replace values of the study: ``{"task.epochs": 3}``.
    With ``progress``, every trial is printed to stderr. The first Ctrl-C lets running trials
    finish, the second ends them; the result is returned in both cases.

    ``components`` are levers, metrics, losses and kinds of tasks, as plug-ins register them; the
    study names them like built-in ones. Their functions can be those of a notebook. Their results
    are not shared with other studies.

    :raises AutotuneError: the study, its model or its data cannot be used; no trial completed.
    """
    from autotune.cli.executors import open_executor
    from autotune.cli.interrupts import interruptible
    from autotune.cli.options import default_storage, runs_directory, storage_option
    from autotune.store import open_driver_store
    from autotune.tuner.session import SearchSession

    register(components)
    source, overrides = Study.from_value(study).source, write_overrides(settings or {})
    config, directory = spec.executor(source, overrides=overrides), runs_directory()
    with quiet_unless(progress), open_executor(config) as (executor, host):
        loaded = spec.load(source, host=host, overrides=overrides)
        url = storage or loaded.storage or default_storage()
        store = open_driver_store(url, directory / ".journal", clock=executor.clock)
        with closing(store):
            resolved = replace(loaded.study, sharing=loaded.study.sharing and not components)
            workers = send_components(executor, components)
            session = SearchSession(resolved, store, workers, host, directory=directory)
            session.prepare()
            session.create_or_continue()
            with (
                session.acquire() as trials,
                observe(resolved, trials, callbacks, progress) as observer,
                interruptible(session.stop, session.abort),
            ):
                outcome = session.run(observer)
    if outcome.failure is not None or not (outcome.has_completed_trial or outcome.is_interrupted):
        raise AutotuneError(
            outcome.failure or "no trial completed",
            hint=f"autotune trials {loaded.study.name}{storage_option(url)} "
            "shows the reason for each",
        )
    return replace(load(loaded.study.name, url), reason=outcome.reason)
