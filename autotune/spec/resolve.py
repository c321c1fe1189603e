"""Resolves a study file on a host: a :class:`~autotune.domain.Study`, or a list of mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from autotune.components import EXECUTOR_SETTINGS, EXECUTORS
from autotune.domain import (
    Budget,
    Constraint,
    ExecutorConfig,
    Host,
    Limits,
    Objective,
    Prices,
    SamplerConfig,
    SearchSpace,
    Study,
    Task,
)
from autotune.domain.losses import LOSSES
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import levers
from autotune.domain.study import Direction
from autotune.domain.tasks import TASK_KINDS
from autotune.domain.text import suggest
from autotune.errors import ExpressionError
from autotune.spec.budget import (
    price_table,
    resolve_budget,
    resolve_confirmation,
    resolve_warm_start,
)
from autotune.spec.conditions import constraint_errors, parse_constraint
from autotune.spec.deployment import has_deployment, resolve_keep
from autotune.spec.distillation import check_teacher
from autotune.spec.document import Document, Path
from autotune.spec.domains import SkippedSetting
from autotune.spec.evaluation import with_evaluations
from autotune.spec.fields import AUTO
from autotune.spec.metrics import why_unmeasurable
from autotune.spec.models import ExecutorSpec, GoalSpec, StudyFile
from autotune.spec.own_code import code_digest
from autotune.spec.priors import resolve_priors
from autotune.spec.search_space import resolve_space
from autotune.spec.strategies import resolve_baseline, resolve_start_with
from autotune.spec.task_section import TaskSpec
from autotune.spec.task_settings import refer_to_task


@dataclass(frozen=True)
class ResolvedStudy:
    """A study resolved on a host. ``storage`` is the URL that the file names; it is not part of the
    study, so that no password is stored. ``skipped`` are the settings that the file names and this
    host cannot run; :func:`~autotune.spec.explain` also lists those that ``auto`` leaves out."""

    study: Study
    storage: str | None = None
    skipped: tuple[SkippedSetting, ...] = ()


def resolve(
    file: StudyFile, document: Document, host: Host, plugins: Sequence[str] = ()
) -> ResolvedStudy:
    """The study that ``file`` describes on ``host``. Mistakes are recorded in ``document``; the
    result is valid only if there are none. ``plugins`` are those loaded for it."""
    file = refer_to_task(file, document)
    baseline = resolve_baseline(file, document, host)
    space, skipped = resolve_space(file, document, host, baseline)
    prices = price_table(file.prices)
    metrics = _MetricChecker(
        document, file.task.kind, host, prices, space if _has_valid_device(file, space) else None
    )
    objectives, constraints = metrics.objectives(file), metrics.constraints(file)
    task = _task(file.task, document)
    deploys = has_deployment(file, objectives, constraints)
    if deploys and task.model_class is not None:
        message = "a model of your own class is not deployed; remove it, or what is deployed"
        document.add_error(("task", "model_class"), message, key=True)
    check_teacher(file, document)
    study = Study(
        name=file.study,
        task=with_evaluations(task, file.task, objectives, constraints, document),
        objectives=objectives,
        space=space,
        constraints=constraints,
        budget=metrics.budget(file),
        limits=Limits(file.limits.memory_gib, file.limits.minutes, file.limits.checkpoint_gib),
        prices=prices,
        executor=_executor(file, document),
        sampler=SamplerConfig(
            file.sampler.kind,
            file.sampler.seed,
            file.sampler.recipes,
            resolve_priors(file, document),
        ),
        start_with=resolve_start_with(file, space, document, host),
        sharing=file.sharing,
        stopping=file.early_stopping,
        confirm=resolve_confirmation(file),
        warm_start=resolve_warm_start(file, document),
        plugins=tuple(plugins),
        deploys=deploys,
        keep=resolve_keep(file, deploys=deploys),
        spec={key: value for key, value in document.data.items() if key != "storage"},
    )
    return ResolvedStudy(study, file.storage, skipped)


@dataclass(frozen=True)
class _MetricChecker:
    """Resolves the sections that name metrics, and records those that cannot be measured."""

    document: Document
    task_kind: str
    host: Host
    prices: Prices
    space: SearchSpace | None
    """``None`` if the device is invalid, so that this is not reported for every metric too."""

    def objectives(self, file: StudyFile) -> tuple[Objective, ...]:
        if file.goal is not None:
            return self._goal(file.goal)
        objectives: dict[str, Objective] = {}
        for index, spec in enumerate(file.objectives):
            name, path = spec.metric, ("objectives", index, "metric")
            if name not in METRICS:
                self.document.add_error(path, f"unknown metric '{name}'; {suggest(name, METRICS)}")
            elif name in objectives:
                self.document.add_error(path, f"{name} is an objective twice")
            else:
                self._check(name, path)
                objectives[name] = Objective(name, spec.direction or METRICS[name].direction)
        return tuple(objectives.values())

    def _goal(self, goal: GoalSpec) -> tuple[Objective, ...]:
        """The metric of a goal as the only objective."""
        metrics = {key: name for key in get_args(Direction) if (name := getattr(goal, key))}
        if len(metrics) != 1:
            message = "a goal has one metric: maximize: METRIC, or minimize: METRIC"
            self.document.add_error(("goal",), message, key=True)
            return ()
        ((direction, name),) = metrics.items()
        path: Path = ("goal", direction)
        if name not in METRICS:
            self.document.add_error(path, f"unknown metric '{name}'; {suggest(name, METRICS)}")
            return ()
        self._check(name, path)
        return (Objective(name, direction),)

    def constraints(self, file: StudyFile) -> tuple[Constraint, ...]:
        constraints: list[Constraint] = []
        goal, section = file.goal, ("constraints",) if file.goal is None else ("goal", "require")
        for index, text in enumerate(file.constraints if goal is None else goal.require):
            path: Path = (*section, index)
            try:
                constraint = parse_constraint(text)
            except ExpressionError as error:
                self.document.add_error(path, error.message, offset=error.column)
                continue
            self._check(constraint.metric, path)
            for message in constraint_errors(constraint, constraints):
                self.document.add_error(path, message)
            constraints.append(constraint)
        return tuple(constraints)

    def budget(self, file: StudyFile) -> Budget:
        if file.budget.usd is not None:
            self._check("cost_usd", ("budget", "usd"))
        if file.budget.minutes is None and _is_auto(self.document):
            message = "auto is as many as fit in budget.minutes, which is not set"
            self.document.add_error(("task", "train_samples"), message)
        return resolve_budget(file, self.document)

    def _check(self, metric: str, path: Path) -> None:
        if self.space is None:
            return
        reason = why_unmeasurable(metric, self.task_kind, self.host, self.prices, self.space)
        if reason is not None:
            self.document.add_error(path, f"{metric} cannot be measured here: it {reason}")


def _has_valid_device(file: StudyFile, space: SearchSpace) -> bool:
    return "device" not in file.space or "device" in levers(space)


def _task(spec: TaskSpec, document: Document) -> Task:
    if spec.steps is not None and spec.epochs is not None:
        document.add_error(("task", "steps"), "steps replaces epochs; give one", key=True)
    if _is_auto(document) and spec.steps is not None:
        message = "task.steps fixes how long to train; give a number of samples, or epochs"
        document.add_error(("task", "train_samples"), message)
    if spec.columns.text_pair is not None and not TASK_KINDS[spec.kind].has_text_pair:
        path = ("task", "columns", "text_pair")
        document.add_error(path, f"{spec.kind} has no second text; remove text_pair", key=True)
    _check_options(spec, document)
    dataset: str | dict[str, str]
    if isinstance(spec.dataset, str):
        dataset = spec.dataset
    else:
        dataset = spec.dataset.model_dump(exclude_none=True)
    return Task(
        kind=spec.kind,
        model=spec.model,
        dataset=dataset,
        columns=replace(
            TASK_KINDS[spec.kind].columns, **spec.columns.model_dump(exclude_unset=True)
        ),
        epochs=1.0 if spec.epochs is None else spec.epochs,
        steps=spec.steps,
        max_length=spec.max_length,
        stride=spec.stride,
        labels=None if spec.labels is None else tuple(spec.labels),
        class_weights=spec.class_weights,
        loss=spec.loss,
        collator=spec.collator,
        model_class=spec.model_class,
        metrics=tuple(spec.metrics) or None,
        code=code_digest(spec.loss, spec.collator, spec.model_class, *spec.metrics),
        threshold=spec.threshold,
        teacher=spec.teacher,
        seed=spec.seed,
        train_samples=spec.train_samples,
        validation_samples=spec.validation_samples,
    )


def _check_options(spec: TaskSpec, document: Document) -> None:
    """Record options that the kind of task does not use."""
    kind = TASK_KINDS[spec.kind]
    if spec.class_weights is not None and not kind.predicts_classes:
        message = f"{spec.kind} has no classes to weigh; remove class_weights"
        document.add_error(("task", "class_weights"), message, key=True)
    if spec.class_weights is not None and spec.loss is not None:
        message = "your own loss weighs the labels itself; remove class_weights"
        document.add_error(("task", "class_weights"), message, key=True)
    if spec.loss is not None and ":" not in spec.loss and spec.loss not in LOSSES:
        registered = f"; {suggest(spec.loss, LOSSES)}" if LOSSES else ""
        message = f"no plug-in registers the loss {spec.loss!r}{registered}; or: module:function"
        document.add_error(("task", "loss"), message)
    if spec.labels is not None and not kind.has_labels:
        message = f"labels of {spec.kind} have no names; remove labels"
        document.add_error(("task", "labels"), message, key=True)
    elif spec.labels is not None and len(set(spec.labels)) < max(2, len(spec.labels)):
        message = "name two or more different labels: labels: [bad, good]"
        document.add_error(("task", "labels"), message)
    _check_threshold(spec, document)
    if spec.stride is not None and kind.label_per_token:
        message = f"{spec.kind} has no windows; remove stride"
        document.add_error(("task", "stride"), message, key=True)


def _check_threshold(spec: TaskSpec, document: Document) -> None:
    limits = TASK_KINDS[spec.kind].threshold_range
    if spec.threshold is None:
        return
    if limits is None:
        message = f"predictions for {spec.kind} have no threshold; remove threshold"
        document.add_error(("task", "threshold"), message, key=True)
    elif isinstance(spec.threshold, float) and not limits[0] < spec.threshold < limits[1]:
        message = f"{spec.threshold:g} is not between {limits[0]:g} and {limits[1]:g}"
        document.add_error(("task", "threshold"), message)


def _is_auto(document: Document) -> bool:
    """Whether the budget decides on how many samples trials train."""
    task = document.data.get("task")
    return isinstance(task, dict) and task.get("train_samples") == AUTO


def _executor(file: StudyFile, document: Document) -> ExecutorConfig:
    spec, executor = file.executor, EXECUTORS[file.executor.kind]
    for name, (purpose, sample) in EXECUTOR_SETTINGS.items():
        is_set = getattr(spec, name) is not None
        if is_set and name not in executor.settings:
            message = f"{name} is {purpose}; the {spec.kind} executor has none"
            document.add_error(("executor", name), message, key=True)
        if not is_set and name in executor.required:
            example = f"{{kind: {spec.kind}, {name}: {sample}}}"
            message = f"the {spec.kind} executor needs {purpose}: {example}"
            document.add_error(("executor",), message)
    return executor_config(spec)


def executor_config(spec: ExecutorSpec) -> ExecutorConfig:
    """The executor of the file, with defaults for what it does not set."""
    return ExecutorConfig(
        spec.kind,
        spec.workers or EXECUTORS[spec.kind].default_workers,
        spec.address,
        spec.takeover_seconds,
        spec.landscape,
    )
