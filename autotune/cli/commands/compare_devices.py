"""``compare-devices``: the same fine-tune on every device of this host, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from autotune.cli.executors import open_executor
from autotune.cli.options import JsonOption, SetOption, SpecArgument
from autotune.cli.output import info, out, print_json
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
from autotune.errors import AutotuneError
from autotune.ports import Executor

SHOWN = (
    "train_seconds", "train_samples_per_second", "accuracy", "peak_memory_gib",
    "device_memory_gib", "cost_usd", "inference_latency_ms",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command()(compare_devices)


def compare_devices(
    file: SpecArgument, override: SetOption = None, json: JsonOption = False
) -> None:
    """Run one strategy on each device: time, accuracy, memory and cost side by side.

    The strategy is the first of the file's start_with, or the default; nothing is stored.
    """
    from tempfile import TemporaryDirectory

    from autotune import spec
    from autotune.cli.commands.study import resolve_study_path
    from autotune.trial.data.datasets import prepare

    with open_executor(ExecutorConfig()) as (executor, host), TemporaryDirectory() as folder:
        study = spec.load(resolve_study_path(file), host=host, overrides=override or []).study
        executor.call(prepare, study.task)  # a mistake in the data is one for all devices
        outcomes: dict[str, Outcome] = {}
        for job in _jobs(study, host, folder):
            device = str(job.strategy["device"])
            info(f"{device}: fine-tuning")
            outcomes[device] = _run(executor, study, job)
    if json:
        print_json({device: _record(outcome) for device, outcome in outcomes.items()})
    else:
        out.print(_table(outcomes))
    if not any(isinstance(outcome, Completed) for outcome in outcomes.values()):
        raise AutotuneError("no device completed the fine-tune")


def _jobs(study: Study, host: Host, folder: str) -> Iterator[Job]:
    """One job a device: the same strategy, alone on the host."""
    from autotune.levers import hourly_usd, resources

    chosen = study.start_with[0] if study.start_with else study.baseline
    for number, device in enumerate(host.devices):
        strategy = chosen.with_values(device=device.id)
        yield Job(
            study=study.name,
            trial=number,
            strategy=strategy,
            task=study.task,
            seed=study.task.seed,
            resources=resources(strategy),
            limits=study.limits,
            directory=f"{folder}/{number}",
            hourly_usd=hourly_usd(strategy, host, study.prices),
        )


def _run(executor: Executor, study: Study, job: Job) -> Outcome:
    """The job's outcome; a strategy that the device cannot run is infeasible without being run."""
    from autotune.domain.search_space import excluded
    from autotune.trial.entry import evaluate

    rule = excluded(study.space, Strategy(job.strategy.values))
    if rule is not None:
        return Infeasible(FailureReason.UNSUPPORTED, rule.reason)
    told: list[Outcome] = []
    jobs = iter([job])
    executor.run(
        lambda: next(jobs, None),
        evaluate,
        lambda _, outcome: told.append(outcome),
        lambda *_: None,
    )
    return told[0]


def _record(outcome: Outcome) -> dict[str, Any]:
    if not isinstance(outcome, Completed):
        return {"reason": outcome.reason}
    return {name: m.value for name, m in outcome.result.measurements.items()}


def _table(outcomes: dict[str, Outcome]) -> Any:
    from rich.table import Table

    from autotune.analysis.summary import format_metric
    from autotune.domain.metrics import METRICS

    table = Table("", *outcomes, title="One strategy on each device", title_justify="left")
    records = {device: _record(outcome) for device, outcome in outcomes.items()}
    for name in SHOWN:
        values = [record.get(name) for record in records.values()]
        cells = [
            "not measured" if value is None else format_metric(name, value) for value in values
        ]
        table.add_row(METRICS[name].label, *cells)
    reasons = [record.get("reason", "") for record in records.values()]
    if any(reasons):
        table.add_row("why not", *reasons)
    return table
