"""A study file and a host become a :class:`~autotune.domain.Study`, or a list of mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.domain import (
    Budget,
    Categorical,
    Columns,
    Constraint,
    ExecutorConfig,
    Host,
    Limits,
    Objective,
    Prices,
    SamplerChoice,
    SearchSpace,
    Strategy,
    Study,
    Task,
    Value,
    expression,
)
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import complete, excluded, levers
from autotune.errors import ExpressionError
from autotune.levers import LEVERS
from autotune.spec import budget, constraints
from autotune.spec.budget import price_table
from autotune.spec.document import Document, Path, nearest
from autotune.spec.domains import SkippedSetting, coerce, illegal
from autotune.spec.metrics import why_not
from autotune.spec.models import ExecutorSpec, StudyFile, TaskSpec
from autotune.spec.search_space import build


@dataclass(frozen=True)
class ResolvedStudy:
    """A study resolved on a host. ``storage`` is the URL the file names, kept out of the study so
    that no password is stored; ``notes`` are the named settings that this host
    cannot run; what ``auto`` leaves out is for :func:`~autotune.spec.explain`."""

    study: Study
    storage: str | None = None
    notes: tuple[SkippedSetting, ...] = ()


def resolve(file: StudyFile, document: Document, host: Host) -> ResolvedStudy:
    """Give every part of ``file`` its meaning on ``host``. Mistakes go to ``document``; the result
    counts only if there are none."""
    space, notes = build(file, document, host)
    prices = price_table(file.prices.cpu_core, file.prices.gpus, file.prices.nodes)
    judge = _MetricChecker(
        document, file.task.kind, host, prices, space if _device_known(file, space) else None
    )
    study_budget = judge.budget(file)
    study = Study(
        name=file.study,
        task=_task(file.task, document),
        objectives=judge.objectives(file),
        space=space,
        constraints=judge.constraints(file),
        budget=study_budget,
        limits=Limits(file.limits.memory_gib, file.limits.minutes),
        prices=prices,
        executor=_executor(file, document),
        sampler=SamplerChoice(file.sampler.kind, file.sampler.seed),
        start_with=_start_with(file, space, document, host),
        sharing=file.sharing,
        stopping=file.early_stopping,
        confirm=budget.confirmation(file),
        warm_start=budget.warm_start(file, document),
        spec={key: value for key, value in document.data.items() if key != "storage"},
    )
    return ResolvedStudy(study, file.storage, notes)


@dataclass(frozen=True)
class _MetricChecker:
    """Reads the sections that name metrics, and blames those this host cannot measure."""

    document: Document
    kind: str
    host: Host
    prices: Prices
    space: SearchSpace | None
    """``None`` where the device has a mistake, so that no other is blamed for it."""

    def measured(self, metric: str, path: Path) -> None:
        if self.space is None:
            return
        reason = why_not(metric, self.kind, self.host, self.prices, self.space)
        if reason is not None:
            self.document.add_error(path, f"{metric} cannot be measured here: it {reason}")

    def objectives(self, file: StudyFile) -> tuple[Objective, ...]:
        found: dict[str, Objective] = {}
        for index, objective in enumerate(file.objectives):
            name, path = objective.metric, ("objectives", index, "metric")
            if name not in METRICS:
                self.document.add_error(path, f"unknown metric '{name}'; {nearest(name, METRICS)}")
            elif name in found:
                self.document.add_error(path, f"{name} is an objective twice")
            else:
                self.measured(name, path)
                direction = objective.direction or METRICS[name].direction
                found[name] = Objective(name, direction)
        return tuple(found.values())

    def constraints(self, file: StudyFile) -> tuple[Constraint, ...]:
        found: list[Constraint] = []
        for index, text in enumerate(file.constraints):
            path = ("constraints", index)
            try:
                constraint = constraints.parse(text)
            except ExpressionError as error:
                self.document.add_error(path, error.message, offset=error.column)
                continue
            self.measured(constraint.metric, path)
            for message in constraints.objections(constraint, found):
                self.document.add_error(path, message)
            found.append(constraint)
        return tuple(found)

    def budget(self, file: StudyFile) -> Budget:
        if file.budget.usd is not None:
            self.measured("cost_usd", ("budget", "usd"))
        return budget.budget(file, self.document)


def _device_known(file: StudyFile, space: SearchSpace) -> bool:
    return "device" not in file.space or "device" in levers(space)


def _task(spec: TaskSpec, document: Document) -> Task:
    if spec.steps is not None and spec.epochs is not None:
        document.add_error(("task", "steps"), "steps takes the place of epochs; give one", key=True)
    if spec.kind == "token-classification" and spec.columns.text_pair is not None:
        place = ("task", "columns", "text_pair")
        document.add_error(place, "tokens have no second text; leave text_pair out", key=True)
    dataset: str | dict[str, str]
    if isinstance(spec.dataset, str):
        dataset = spec.dataset
    else:
        dataset = spec.dataset.model_dump(exclude_none=True)
    return Task(
        kind=spec.kind,
        model=spec.model,
        dataset=dataset,
        columns=Columns(spec.columns.text, spec.columns.text_pair, spec.columns.label),
        epochs=1.0 if spec.epochs is None else spec.epochs,
        steps=spec.steps,
        max_length=spec.max_length,
        seed=spec.seed,
        train_samples=spec.train_samples,
        validation_samples=spec.validation_samples,
    )


def _executor(file: StudyFile, document: Document) -> ExecutorConfig:
    spec = file.executor
    if spec.kind != "ray" and spec.address is not None:
        message = f"address is of a ray cluster; the {spec.kind} executor has none"
        document.add_error(("executor", "address"), message, key=True)
    if spec.kind != "replay" and spec.landscape is not None:
        message = f"landscape is for replay; the {spec.kind} executor runs trials for real"
        document.add_error(("executor", "landscape"), message, key=True)
    elif spec.kind == "replay" and spec.landscape is None:
        message = "replay needs a recording: {kind: replay, landscape: FILE}"
        document.add_error(("executor",), message)
    return chosen(spec)


def chosen(spec: ExecutorSpec) -> ExecutorConfig:
    """The executor that a file asks for, with what it leaves open."""
    default = 0 if spec.kind == "ray" else 1
    return ExecutorConfig(
        spec.kind, spec.workers or default, spec.address, spec.takeover_seconds, spec.landscape
    )


def _start_with(
    file: StudyFile, space: SearchSpace, document: Document, host: Host
) -> tuple[Strategy, ...]:
    """Strategies to try first. Any legal setting that this host can run will do, searched or not;
    levers that the space fixes take their fixed setting."""
    fixed = {
        d.lever: d.domain.values[0]
        for d in space.dimensions
        if isinstance(d.domain, Categorical) and len(d.domain.values) == 1
    }
    found: list[Strategy] = []
    for index, written in enumerate(file.start_with):
        path: Path = ("start_with", index)
        values = _settings(written, path, document, host)
        if file.task.steps is not None and "epochs" in written:
            message = "task.steps fixes how long to train; leave epochs out, or set no steps"
            document.add_error((*path, "epochs"), message, key=True)
        if values is None:
            continue
        strategy = complete(space, {**fixed, **values})
        rule = excluded(space, strategy)
        if rule is not None:
            document.add_error(path, f"the rules exclude it: {rule.excludes} ({rule.reason})")
        elif strategy in found:
            document.add_error(path, f"the same strategy as entry {found.index(strategy) + 1}")
        _blame_idle(values, strategy, space, path, document)
        found.append(strategy)
    return tuple(found)


def _settings(
    written: Mapping[str, Any], path: Path, document: Document, host: Host
) -> dict[str, Value] | None:
    """``written`` in the levers' own types; ``None`` where there are mistakes."""
    found: dict[str, Value] = {}
    for name, value in written.items():
        if name not in LEVERS:
            message = f"unknown lever '{name}'; {nearest(name, LEVERS)}"
            document.add_error((*path, name), message, key=True)
            continue
        setting = coerce(LEVERS[name], value)
        if setting is None:
            document.add_error((*path, name), illegal(LEVERS[name], value))
        elif reason := LEVERS[name].unavailable(host, setting):
            document.add_error((*path, name), f"this host cannot run {name} {setting}: {reason}")
        else:
            found[name] = setting
    return found if len(found) == len(written) else None


def _blame_idle(
    values: Mapping[str, Value],
    strategy: Strategy,
    space: SearchSpace,
    path: Path,
    document: Document,
) -> None:
    """A lever that is set where it has no effect is a mistake: the strategy is not what it says."""
    whens = {d.lever: d.when for d in space.dimensions}
    for name, value in values.items():
        when = whens.get(name, LEVERS[name].when)
        if when is None or value == space.defaults[name]:
            continue
        if not expression.parse(when, space.defaults.keys()).holds(strategy.values):
            message = f"{name} has no effect here: it matters only when {when}"
            document.add_error((*path, name), message, key=True)
