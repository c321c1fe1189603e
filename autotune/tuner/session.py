"""A search session without a user interface: takes a study, returns a result, prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autotune import hardware, spec
from autotune.domain import (
    CurvePoint,
    Host,
    SearchState,
    SearchStatus,
    State,
    Study,
    Trial,
    Value,
    WorkloadProfile,
)
from autotune.domain.clock import utc_now
from autotune.domain.search_space import grid_values
from autotune.domain.strategy import OF_TASK
from autotune.errors import AutotuneError, IncompatibleStudyError, StoreError, UsageError
from autotune.plugins import call_with_plugins
from autotune.ports import Evaluate, Executor, Observer, Store
from autotune.trial.data.prepared import PreparedTask
from autotune.tuner.feasibility.filter import FeasibilityFilter
from autotune.tuner.fidelity import adopt_samples, choose_samples
from autotune.tuner.tuner import Tuner, make_tuner
from autotune.tuner.warm_start import SourceStudy, load_source_study

OUTAGE_SECONDS = 600.0
"""How long a search waits for a database server that is away."""


@dataclass(frozen=True)
class SearchResult:
    """How a session ended: why, with which trials of the study, and whether it was stopped before
    the budget was used. ``failure`` is the error that every trial would repeat, ``models`` says
    which trained models are kept."""

    reason: str
    trials: Sequence[Trial]
    is_interrupted: bool = False
    failure: str | None = None
    models: str | None = None

    @property
    def has_completed_trial(self) -> bool:
        return any(trial.state is State.COMPLETE for trial in self.trials)

    @property
    def state(self) -> SearchState:
        if self.is_interrupted:
            return SearchState.STOPPED
        is_failed = self.failure is not None or not self.has_completed_trial
        return SearchState.FAILED if is_failed else SearchState.DONE


class NullObserver:
    """An observer that does nothing."""

    def started(self, trial: Trial) -> None:
        pass

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        pass

    def finished(self, trial: Trial) -> None:
        pass


def run_search(
    study: Study,
    store: Store,
    executor: Executor,
    host: Host,
    *,
    directory: Path,
    observer: Observer | None = None,
) -> SearchResult:
    """Search ``study`` on ``host``, or continue the study of this name in ``store``.

    Trials write their files below ``directory``. The caller closes store and executor.

    :raises AutotuneError: model or data cannot be used, the stored study has other settings,
        another process is driving it, or the database was away for too long.
    """
    session = SearchSession(study, store, executor, host, directory=directory)
    session.prepare()
    session.create_or_continue()
    with session.acquire():
        return session.run(observer or NullObserver())


class SearchSession:
    """The steps of :func:`run_search` for callers that report in between, or that stop it.

    Call :meth:`prepare`, :meth:`create_or_continue`, and within :meth:`acquire` :meth:`run`.
    """

    def __init__(
        self, study: Study, store: Store, executor: Executor, host: Host, *, directory: Path
    ) -> None:
        self._study, self._store, self._executor = study, store, executor
        self._host, self._directory = host, directory
        self._workload: WorkloadProfile | None = None
        self._source: SourceStudy | None = None
        self._tuner: Tuner | None = None
        self._stop_reason: str | None = None

    @property
    def study(self) -> Study:
        """The study; after :meth:`prepare` as it is stored, with the facts of its data."""
        return self._study

    def prepare(self) -> PreparedTask | None:
        """Check the study and load its model and data in a worker, so that a mistake shows before
        anything is stored. Returns what was loaded; ``None`` where trials are replayed."""
        from autotune.trial.data.datasets import prepare_task
        from autotune.trial.model_sources import digest_models
        from autotune.trial.workload import profile_models

        self._study = adopt_samples(self._store, self._study)
        self._source = load_source_study(self._store, self._study, self._host)
        require_compatible(self._store, self._study)
        self._workload = self._executor.workload
        if self._executor.clock is not None:
            self._study = replace(self._study, workload=self._workload)
            return None
        call = self._executor.call
        self._study, note = choose_samples(self._study, self._executor, self._directory)
        study = self._study
        models = _searched_models(study)
        teacher = [] if study.task.teacher is None else [study.task.teacher]
        digests = call(digest_models, [study.task.model, *models, *teacher])
        prepared = call(call_with_plugins, study.plugins, prepare_task, study.task)
        notes = (*prepared.notes, *note, *unrecorded_code(self._store, study))
        prepared = replace(prepared, notes=notes)
        max_length = _longest_samples(study)
        self._workload = call(
            call_with_plugins, study.plugins, profile_models, study.task, models, max_length
        )
        # A model of the hub is here now, and its type is known.
        space = spec.restrict_to_models(study.space, study.task.model)
        self._study = replace(
            study,
            data_digest=prepared.data_digest,
            model_digests=digests,
            workload=self._workload,
            space=space,
        )
        self._require_source_of_same_data()
        return prepared

    def _require_source_of_same_data(self) -> None:
        source = self._source
        changes = [] if source is None else source.study.changed_content(self._study)
        for name, _, _ in changes:
            raise IncompatibleStudyError(
                f"{name} has changed since study {self._study.warm_start} was run",
                hint="restore the files, or remove warm_start",
            )

    def create_or_continue(self) -> int | None:
        """Store the study. Returns the number of trials of a study that is continued, else
        ``None``."""
        study, store, environment = self._study, self._store, hardware.environment(self._host)
        if study.name not in store.studies():
            try:
                store.create_study(study, environment)
                return None
            except UsageError:
                pass  # another driver was faster, perhaps with other settings
        require_compatible(store, study)
        stored = store.study(study.name)
        study = replace(study, model_digests={**stored.model_digests, **study.model_digests})
        if study.data_digest is None:
            study = replace(study, data_digest=stored.data_digest, workload=stored.workload)
        store.update_study(study)
        store.record_environment(study.name, environment)
        return len(store.trials(study.name))

    @contextmanager
    def acquire(self) -> Iterator[Sequence[Trial]]:
        """Be a driver of the study; yields its trials, of which none is left running by a dead
        driver."""
        with self._store.acquire_driver(self._study.name):
            stale = None if self._store.single_driver else self._study.executor.takeover_seconds
            self._store.interrupt_running(self._study.name, stale_seconds=stale)
            yield self._store.trials(self._study.name)

    def run(self, observer: Observer, evaluate: Evaluate | None = None) -> SearchResult:
        """Search until the budget is used, or until :meth:`stop`. ``evaluate`` runs a trial; by
        default it is a fine-tune of the study's task."""
        from autotune import trial

        self._tuner = self._make_tuner(observer)
        if self._stop_reason is not None:
            self._tuner.stop(self._stop_reason)
        self._store.record_search(self._study.name, SearchStatus(SearchState.RUNNING))
        try:
            reason = self._tuner.run(evaluate or trial.evaluate)
        except AutotuneError as error:
            self._record_end(SearchState.FAILED, error.message)
            raise
        is_interrupted, failure = self._stop_reason is not None, self._tuner.failure
        has_ended = not is_interrupted and failure is None
        models = self._tuner.keep_models() if has_ended else None
        trials = self._store.trials(self._study.name)
        result = SearchResult(reason, trials, is_interrupted, failure, models)
        self._record_end(result.state, failure or reason)
        return result

    def _record_end(self, state: SearchState, reason: str) -> None:
        with suppress(StoreError):  # the results count, and they are stored
            self._store.record_search(self._study.name, SearchStatus(state, reason))

    def stop(self, reason: str = "interrupted") -> None:
        """Start no more trials; running ones finish. Safe from a signal handler or thread."""
        self._stop_reason = reason
        if self._tuner is not None:
            self._tuner.stop(reason)

    def abort(self) -> None:
        """End running trials now. Safe from a signal handler or thread."""
        self._executor.stop()

    def _make_tuner(self, observer: Observer) -> Tuner:
        from autotune.tuner.samplers.registry import make_sampler

        study, store = self._study, self._store
        feasibility = None
        if self._workload is not None:
            feasibility = FeasibilityFilter(
                study, self._host, self._workload, lambda t: store.trial(study.name, t.number)
            )
        return make_tuner(
            study,
            store,
            make_sampler(study, self._workload),
            self._executor,
            self._host,
            directory=self._directory,
            observer=observer,
            clock=self._executor.clock or utc_now,
            outage_seconds=0.0 if store.single_driver else OUTAGE_SECONDS,
            feasibility=feasibility,
            source=self._source,
            replicates=self._executor.clock is None,  # a recording has no further seeds
        )


def _searched_models(study: Study) -> list[str]:
    """The models of the study other than that of its task."""
    return [str(v) for v in _settings(study, "model") if v != OF_TASK]


def _longest_samples(study: Study) -> int | None:
    """The largest ``max_length`` that is searched, if it is."""
    return max((int(v) for v in _settings(study, "max_length") if v != OF_TASK), default=None)


def _settings(study: Study, lever: str) -> list[Value]:
    """The settings of ``lever`` in the study; of a range its ends."""
    domains = [d.domain for d in study.space.dimensions if d.lever == lever]
    searched = [value for domain in domains for value in grid_values(domain, 2)]
    named = [strategy[lever] for strategy in (study.baseline, *study.start_with)]
    return list(dict.fromkeys([*searched, *named]))


def unrecorded_code(store: Store, study: Study) -> tuple[str, ...]:
    """A note where the stored study of this name has no digest of the code of its functions."""
    is_stored = study.name in store.studies()
    if study.task.code is None or not is_stored or store.study(study.name).task.code is not None:
        return ()
    return (
        "the code of the functions of the task was not recorded when the study was stored, so a "
        "change since then is not noticed; it is recorded now",
    )


def require_compatible(store: Store, study: Study) -> None:
    """Check that a stored study of this name, if there is one, has the same settings.

    :raises IncompatibleStudyError: it differs in a way that changes what its results mean.
    """
    if study.name not in store.studies():
        return
    differences = spec.incompatibilities(store.study(study.name), study)
    if differences:
        raise IncompatibleStudyError(
            f"study {study.name} already exists with different settings:\n  "
            + "\n  ".join(differences),
            hint=f"undo the difference, or: autotune search FILE --study {study.name}-2",
        )
