"""One trial, from job to outcome: a real fine-tune under a strategy, measured.

Executors call :func:`run_trial`. A trial has two phases: the profile phase
(:mod:`autotune.trial.profiling`) takes seconds, the train phase trains and evaluates the model. In
studies that deploy models, a third phase (:mod:`autotune.trial.deployment`) follows.
A job lists the phases to run; the search reuses the results of the others from earlier trials
(:mod:`autotune.tuner.cache`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from autotune.domain import (
    PAUSED_AT_STEP,
    THRESHOLD,
    Completed,
    FailureReason,
    Infeasible,
    Job,
    Outcome,
    Phase,
    Pruned,
    Task,
)
from autotune.domain.tasks import TUNED
from autotune.errors import DeploymentError, NanLoss, StopTrial, Unsupported
from autotune.measure import memory
from autotune.measure.drift import ReferenceWorkload
from autotune.measure.energy import EnergyMeter, counters
from autotune.measure.measurements import exact
from autotune.ports import Report
from autotune.trial import evaluation, profiling
from autotune.trial.best_checkpoint import best_checkpoint
from autotune.trial.checkpoints import Checkpoints
from autotune.trial.data.activations import Activations
from autotune.trial.deployment import deploy, find_trained, save_trained
from autotune.trial.devices import (
    init_device,
    init_process_group,
    is_local_main_process,
    local_devices,
)
from autotune.trial.distributed.process_group import ProcessGroup
from autotune.trial.job_files import remove_checkpoints
from autotune.trial.model_files import MODEL, delete_model
from autotune.trial.models import attention_fallback
from autotune.trial.plan import plan_training
from autotune.trial.recorder import TrialRecorder, describe_environment
from autotune.trial.teacher import teacher_logits
from autotune.trial.training import init_train_state
from autotune.trial.training_run import SETUP, TrainingRun, evaluate_split
from autotune.trial.trial_data import TrialData, read_data


def run_trial(job: Job, report: Report) -> Outcome:
    """Fine-tune as ``job`` specifies, report progress to ``report``, and return the outcome.

    A trial that the search stops, whose loss is NaN, or whose strategy is not supported on this
    machine returns an outcome with the results so far. All other errors, out of memory included,
    are raised to the executor.
    """
    outcome = _run(job, report)
    if PAUSED_AT_STEP not in outcome.result.environment:
        remove_checkpoints(Path(job.directory))
    return outcome


def _run(job: Job, report: Report) -> Outcome:
    recorder = TrialRecorder()
    return record_outcome(recorder, lambda: fine_tune(job, report, recorder))


def record_outcome(recorder: TrialRecorder, run: Callable[[], None]) -> Outcome:
    """The outcome of ``run``, which adds its results to ``recorder``. Errors that are no outcome of
    a trial are raised."""
    try:
        run()
    except StopTrial as stop:
        return Pruned(stop.message, recorder.result())
    except NanLoss as error:
        return Infeasible(FailureReason.NAN_LOSS, error.message, recorder.result())
    except Unsupported as error:
        return Infeasible(FailureReason.UNSUPPORTED, error.message, recorder.result())
    except DeploymentError as error:
        return Infeasible(FailureReason.DEPLOYMENT, error.message, recorder.result())
    return Completed(recorder.result())


def fine_tune(job: Job, report: Report, recorder: TrialRecorder) -> None:
    """Run all stages of a trial and record how long each takes."""
    memory.reset_peak()
    with recorder.stage("1 devices"):
        device = init_device(job.strategy)
        group = init_process_group(job.strategy, device)
        torch.manual_seed(job.seed)
        recorder.environment.update(describe_environment(device))
    with recorder.stage("2 data"):
        data = read_data(job, device, lambda note: recorder.add_event("data", note), group)
    deploys = Phase.DEPLOY in job.phases
    model = find_trained(job, recorder)
    has_training = Phase.TRAIN in job.phases or (deploys and model is None)
    if Phase.PROFILE in job.phases or has_training:
        train_model(job, report, recorder, data, group, has_training=has_training)
    group.destroy()
    if not deploys or not group.is_main_process:
        return
    try:
        with recorder.stage("9 deploy"):
            deploy(job, data, model or Path(job.directory) / MODEL, recorder)
    finally:
        if not job.keeps_model:
            delete_model(Path(job.directory))


def train_model(
    job: Job,
    report: Report,
    recorder: TrialRecorder,
    data: TrialData,
    group: ProcessGroup,
    *,
    has_training: bool,
) -> None:
    """Profile the strategy if the job asks for it, train if ``has_training``, and save the model
    if it is kept or deployed."""
    has_profile, device = Phase.PROFILE in job.phases, data.collate.device
    if has_training and job.strategy["distillation"]:
        with recorder.stage("2 teacher"):
            logits = teacher_logits(job, data.collate.split, device, recorder)
            data = replace(data, collate=replace(data.collate, teacher=logits))
    devices = local_devices(job.strategy, device)
    meter = EnergyMeter(counters(devices, packages=is_local_main_process()))
    with recorder.stage(SETUP), meter.running():
        state = init_train_state(job.strategy, data.prepared, data.collate, job.seed, group)
        plan = plan_training(job.strategy, job.task, data.collate, job.seed)
    _add_saved_cost(state.activations, recorder, meter)
    if note := attention_fallback(data.prepared, str(job.strategy["attention"])):
        recorder.add_event("model", note)
    if not has_training:
        plan = replace(plan, longest_first=True, rungs=frozenset(), evaluations=frozenset())
    best = best_checkpoint(Path(job.directory), job.task, group.rank)
    checkpoints = Checkpoints(job, state, recorder, data.prepared.data_digest, best)
    run = TrainingRun(
        state, plan, data, ReferenceWorkload(device), meter, report, recorder,
        checkpoints if has_training else None,
    )  # fmt: skip
    is_continued = run.restore()
    setup_seconds = recorder.seconds[SETUP]
    if has_profile and not is_continued:
        with recorder.stage("4 profile"):
            profiling.profile(run, job, setup_seconds)
    if has_training:
        with recorder.stage("5 train"):
            run.run()
        with recorder.stage("6 evaluate"):
            scores, predictions = evaluate_split(run.state.unsharded(), data, data.evaluation)
            _record_threshold(recorder, job.task, predictions.threshold)
            recorder.add(*(scores if job.on_test_split else evaluation.without_samples(scores)))
            recorder.correctness = evaluation.find_hits(
                predictions, data.evaluation, data.prepared.kind
            )
            if has_profile:
                profiling.record_inference(run, job, predictions.windows)
        with recorder.stage("7 record"):
            profiling.record_cost(run, job, setup_seconds)
            recorder.add(exact("train_samples", run.examples))
            if has_profile:
                run.reference.measure(profiling.REFERENCE_CALLS)
                profiling.record_throughput(run, setup_seconds)
        if job.keeps_model or Phase.DEPLOY in job.phases:
            with recorder.stage("8 save"):
                _save_model(run, job, predictions.threshold)


def _add_saved_cost(
    activations: Activations | None, recorder: TrialRecorder, meter: EnergyMeter
) -> None:
    """Count the computation of cached activations in the set-up, whichever trial did it: results do
    not depend on the order of trials."""
    if activations is not None and (saved := activations.saved).seconds:
        recorder.seconds[SETUP] += saved.seconds
        meter.joules += saved.joules
        message = f"{saved.seconds:.2f} s of set-up were those of the trial that computed them"
        recorder.add_event("activations", message)


def _record_threshold(recorder: TrialRecorder, task: Task, threshold: float | None) -> None:
    """Record a threshold that was tuned."""
    if task.threshold == TUNED and threshold is not None:
        recorder.environment[THRESHOLD] = threshold
        recorder.add_event("threshold", f"{threshold:g} is the best on the validation split")


def _save_model(run: TrainingRun, job: Job, threshold: float | None) -> None:
    """Write the trained model to the folder of the trial; collective in a process group."""
    state = run.state.unsharded()
    if state.group.is_main_process:
        model = save_trained(state, run.data.prepared, job, threshold)
        run.recorder.model = model if job.keeps_model else None
