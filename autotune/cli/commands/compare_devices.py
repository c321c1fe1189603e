"""The command ``compare-devices``: the same fine-tune on every device of this host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.text import Text

from autotune.cli.executors import open_executor
from autotune.cli.layout import Column, Listing, Row
from autotune.cli.options import JsonOption, SetOption, SpecArgument
from autotune.cli.output import info, label_with_unit, out, print_json
from autotune.domain import (
    Completed,
    ExecutorConfig,
    FailureReason,
    Host,
    Infeasible,
    Job,
    Outcome,
    Strategy,
    Study,
)
from autotune.domain.training import task_of
from autotune.errors import AutotuneError, UsageError
from autotune.plugins import call_with_plugins
from autotune.ports import Executor

COMPARED_METRICS = (
    "train_seconds", "train_samples_per_second", "accuracy", "peak_memory_gib",
    "device_memory_gib", "cost_usd", "energy_wh", "inference_samples_per_second",
    "inference_latency_ms",
)  # fmt: skip


def compare_devices(
    file: SpecArgument, override: SetOption = None, json: JsonOption = False
) -> None:
    """Run one strategy on each device and compare time, accuracy, memory and cost.

    The strategy is the first of the file's start_with, or the default; nothing is stored.
    """
    from tempfile import TemporaryDirectory

    from autotune import spec
    from autotune.cli.commands.study import resolve_study_path
    from autotune.trial.data.datasets import prepare_task

    with open_executor(ExecutorConfig()) as (executor, host), TemporaryDirectory() as folder:
        study = spec.load(resolve_study_path(file), host=host, overrides=override or []).study
        if study.has_auto_samples:
            raise UsageError(
                "task.train_samples is auto: as many as fit in the budget of a search",
                hint="set a number: --set task.train_samples=1000",
            )
        # a mistake in the data is one for all devices
        executor.call(call_with_plugins, study.plugins, prepare_task, study.task)
        outcomes: dict[str, Outcome] = {}
        for job in _jobs(study, host, folder):
            device = str(job.strategy["device"])
            info(f"{device}: fine-tuning")
            outcomes[device] = _run(executor, study, job)
    if json:
        print_json({device: _record(outcome) for device, outcome in outcomes.items()})
    else:
        out.print(_comparison(outcomes))
    if not any(isinstance(outcome, Completed) for outcome in outcomes.values()):
        raise AutotuneError("no device completed the fine-tune")


def _jobs(study: Study, host: Host, folder: str) -> Iterator[Job]:
    """One job a device, with the same strategy. They run one after the other."""
    from autotune.levers import hourly_usd, required_resources

    base = study.start_with[0] if study.start_with else study.baseline
    for number, device in enumerate(host.devices):
        strategy = base.with_values(device=device.id)
        yield Job(
            study=study.name,
            trial=number,
            strategy=strategy,
            task=task_of(study.task, strategy),
            seed=study.task.seed,
            resources=required_resources(strategy),
            limits=study.limits,
            directory=f"{folder}/{number}",
            hourly_usd=hourly_usd(strategy, host, study.prices),
            plugins=study.plugins,
        )


def _run(executor: Executor, study: Study, job: Job) -> Outcome:
    """Run a job. A strategy that the device cannot run is infeasible without being started."""
    from autotune.domain.search_space import excluded
    from autotune.trial import evaluate

    rule = excluded(study.space, Strategy(job.strategy.values))
    if rule is not None:
        return Infeasible(FailureReason.UNSUPPORTED, rule.reason)
    outcomes: list[Outcome] = []
    jobs = iter([job])
    executor.run(
        lambda: next(jobs, None),
        evaluate,
        lambda _, outcome: outcomes.append(outcome),
        lambda *_: None,
    )
    return outcomes[0]


def _record(outcome: Outcome) -> dict[str, Any]:
    if not isinstance(outcome, Completed):
        return {"reason": outcome.reason}
    return {name: m.value for name, m in outcome.result.measurements.items()}


def _comparison(outcomes: dict[str, Outcome]) -> Group:
    """A row a metric and a column a device, then the reasons of devices without a result."""
    columns = [Column("metric (± 95% interval)", left=True), *map(Column, outcomes)]
    rows = [
        Row([label_with_unit(name), *(_figure(outcome, name) for outcome in outcomes.values())])
        for name in COMPARED_METRICS
    ]
    reasons = [
        Text(f"{device}: {outcome.reason}")
        for device, outcome in outcomes.items()
        if not isinstance(outcome, Completed)
    ]
    return Group(Listing(columns, rows, title="One strategy on each device"), *reasons)


def _figure(outcome: Outcome, metric: str) -> str:
    """A value with half its 95% interval, where one run gives one."""
    from autotune.analysis.text import format_estimate, format_metric

    measurement = outcome.result.measurements.get(metric)
    if measurement is None or not isinstance(outcome, Completed):
        return format_metric(metric, None)
    return format_estimate(metric, measurement.value, measurement.ci95)
