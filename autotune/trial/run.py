"""One trial, read from top to bottom: a real fine-tune under a strategy, and what it was like.

:func:`run_trial` is what executors call. A trial has two halves, of which another trial may know
one already (:mod:`autotune.search.cache`): a probe of its speed (:mod:`autotune.trial.profiling`),
which takes seconds, and the training of the model, which is judged at its end. Each lever acts in
a file of its own beside this one.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from autotune.domain import Completed, FailureReason, Infeasible, Job, Outcome, Phase, Pruned
from autotune.errors import NanLoss, StopTrial, Unsupported
from autotune.measure import memory
from autotune.measure.drift import ReferenceWorkload
from autotune.measure.energy import EnergyMeter, counters
from autotune.measure.measurements import exact
from autotune.ports import Report
from autotune.trial import profiling
from autotune.trial.effects.devices import (
    init_device,
    init_process_group,
    is_local_main_process,
    local_devices,
)
from autotune.trial.models import attention_fallback
from autotune.trial.plan import schedule
from autotune.trial.profiling import account_inference, account_run, probe, record_throughput
from autotune.trial.recorder import TrialRecorder, environment
from autotune.trial.setup import apply_strategy
from autotune.trial.training import TrainingRun, evaluate, read_data


def run_trial(job: Job, report: Report) -> Outcome:
    """Fine-tune as ``job`` says, telling progress to ``report``, and return all that was learned.

    A trial that the search stops, whose loss is no number, or whose strategy cannot work here is an
    outcome that keeps the evidence so far. Anything else that goes wrong, memory included, is
    raised for the executor to judge.
    """
    notes = TrialRecorder()
    try:
        fine_tune(job, report, notes)
    except StopTrial as stop:
        return Pruned(stop.message, notes.result())
    except NanLoss as error:
        return Infeasible(FailureReason.NAN_LOSS, error.message, notes.result())
    except Unsupported as error:
        return Infeasible(FailureReason.UNSUPPORTED, error.message, notes.result())
    return Completed(notes.result())


def fine_tune(job: Job, report: Report, notes: TrialRecorder) -> None:
    """All phases of a trial, each noted with its time."""
    probed, trained = Phase.PROFILE in job.phases, Phase.TRAIN in job.phases
    memory.reset_peak()
    with notes.phase("1 place"):
        device = init_device(job.strategy)
        crew = init_process_group(job.strategy, device)
        torch.manual_seed(job.seed)
        notes.environment.update(environment(device))
    with notes.phase("2 data"):
        data = read_data(job, device, notes, crew)
    meter = EnergyMeter(
        counters(local_devices(job.strategy, device), packages=is_local_main_process())
    )
    with notes.phase("3 apply"), meter.running():
        ready = apply_strategy(job.strategy, data.prepared, data.collate, job.seed, crew)
        plan = schedule(job.strategy, job.task, data.collate, job.seed)
    if note := attention_fallback(data.prepared, str(job.strategy["attention"])):
        notes.event("model", note)
    setup = notes.seconds["3 apply"]
    plan = plan if trained else replace(plan, longest_first=True, rungs=frozenset())
    course = TrainingRun(ready, plan, data, ReferenceWorkload(device), meter, report, notes)
    if probed:
        with notes.phase("4 probe"):
            probe(course, job, setup)
    if trained:
        with notes.phase("5 train"):
            for _ in course:
                pass  # each window is noted, told and judged by the course
        with notes.phase("6 evaluate"):
            evaluate_trained(course, job)
        with notes.phase("7 account"):
            account_run(course, job, setup)
            notes.add(exact("train_samples", course.examples))
            if probed:
                course.reference.measure(profiling.REFERENCE_CALLS)
                record_throughput(course, setup)
    crew.destroy()


def evaluate_trained(course: TrainingRun, job: Job) -> None:
    """Scores of the trained model on the whole split, and the speed at which they were made."""
    scores, windows = evaluate(course.ready.unsharded(), course.data, course.data.validation)
    course.notes.add(*scores)
    if Phase.PROFILE in job.phases:
        account_inference(course, job, windows)
