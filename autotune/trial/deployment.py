"""The deploy phase of a trial: the trained model as it will serve, built and measured.

The accuracy is that of the deployed model on the evaluation split, never that of the trained one.
"""

from __future__ import annotations

import errno
import gc
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autotune import deployment
from autotune.deployment import DeploymentSettings, Logits
from autotune.deployment.trained_model import TaskFacts, read_facts, save
from autotune.domain import Job, Measurement, SavedModel, Strategy, Task
from autotune.domain.metrics import METRICS, get_metric
from autotune.domain.runtimes import RUNTIMES
from autotune.domain.tasks import TASK_KINDS
from autotune.domain.text import one_line, shorten
from autotune.errors import DeploymentError, is_disk_full
from autotune.measure.correctness import HIT_SHARES, count_hits
from autotune.measure.cost import SECONDS_PER_HOUR
from autotune.measure.measurements import exact, inverse
from autotune.trial.data.datasets import load_split
from autotune.trial.data.encoded_texts import calibration_texts, encoded_texts
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.data.tokenizer import load_inputs
from autotune.trial.evaluation import Predictions, compute_scores, find_hits
from autotune.trial.loss import kind_of
from autotune.trial.model_files import ARTIFACT, MODEL, has_model, write_model
from autotune.trial.post_pruning import pruned_model
from autotune.trial.recorder import TrialRecorder
from autotune.trial.split import Split
from autotune.trial.state import TrainState
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.context_windows import window_stride
from autotune.trial.tasks.texts import text_stride
from autotune.trial.thresholds import apply_threshold
from autotune.trial.trial_data import TrialData

SPEED, COST = "deployed_samples_per_second", "deployed_usd_per_million"


def save_trained(
    state: TrainState, prepared: PreparedTask, job: Job, threshold: float | None = None
) -> SavedModel:
    """Write the complete model of ``state`` to the folder of ``job``, with the ``threshold`` of its
    predictions, if it is not the usual one."""
    task_type = get_task_type(prepared.kind)
    path = Path(prepared.model_dir)
    tokenizer = load_inputs(path, task_type.tokenizer_options, prepared.max_length).tokenizer
    facts = TaskFacts(
        kind=prepared.kind,
        auto_class=prepared.model_class or task_type.auto_class,
        labels=prepared.label_names,
        max_length=prepared.max_length,
        pad_token_id=prepared.pad_token_id,
        is_paired=job.task.columns.text_pair is not None,
        threshold=threshold,
        truncation_side=tokenizer.truncation_side,
        **_window_facts(job.task, prepared),
    )

    def write(folder: Path) -> None:
        save(state.model, tokenizer, facts, folder)

    return write_model(Path(job.directory), write)


def _window_facts(task: Task, prepared: PreparedTask) -> dict[str, Any]:
    """How long texts are divided, and what answers to questions depend on."""
    if not TASK_KINDS[prepared.kind].predicts_spans:
        stride = task.stride
        windows = {} if stride is None else {"stride": text_stride(prepared.max_length, stride)}
        return {"has_windows": stride is not None, **windows}
    # As in the scores of the trial, which the deployed model has to repeat.
    references = json.loads(load_split(prepared, "validation").extras["references"].tobytes())
    return {
        "stride": window_stride(prepared.max_length, task.stride),
        "may_be_empty": not all(answers for _, answers in references),
    }


def find_trained(job: Job, recorder: TrialRecorder) -> Path | None:
    """The model of an earlier trial that ``job`` deploys; ``None`` if it has to train."""
    if job.model is None or job.model_folder is None:
        return None
    folder = Path(job.model_folder)
    if has_model(folder, job.model):
        recorder.add_event("model", f"deploys the trained model in {folder / MODEL}")
        return folder / MODEL
    recorder.add_event(
        "model", f"{folder / MODEL} is missing or damaged: the model is trained again"
    )
    return None


def deploy(job: Job, data: TrialData, model: Path, recorder: TrialRecorder) -> None:
    """Deploy the trained ``model`` as the strategy says, and record how it serves.

    Raises :class:`DeploymentError` if it cannot be deployed so.
    """
    start = time.perf_counter()
    if torch.cuda.is_initialized():  # for the process that serves
        gc.collect()
        torch.cuda.empty_cache()
    try:
        measurements = _measure(job, data, model)
    except Exception as error:  # runtimes and their converters raise errors of many types
        if is_disk_full(error):  # a fault of the machine
            raise OSError(errno.ENOSPC, one_line(error)) from error
        raise DeploymentError(
            f"the trained model cannot be deployed: {shorten(one_line(error), 300)}"
        ) from error
    recorder.add(*measurements.values(), exact("deploy_seconds", time.perf_counter() - start))


def _measure(job: Job, data: TrialData, model: Path) -> dict[str, Measurement]:
    settings, gpu = DeploymentSettings.from_strategy(job.strategy), _serving_gpu(job.strategy)
    calibration = calibration_texts(data.collate.split, job.task.seed)
    split, prepared, threshold = data.evaluation, data.prepared, read_facts(model).threshold
    model = pruned_model(model, job.strategy, prepared, data.collate.split, job.task.seed)
    folder = Path(job.directory) / ARTIFACT
    shutil.rmtree(folder, ignore_errors=True)
    try:
        measured = deployment.measure(
            deployment.build(model, settings, folder, calibration),
            encoded_texts(split),
            lambda logits: deployed_scores(logits, split, prepared, threshold),
            settings,
            gpu,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not job.on_test_split:  # only confirmations are compared by example
        measured = {
            name: replace(figure, samples=()) if get_metric(name).is_score else figure
            for name, figure in measured.items()
        }
    return {**measured, **_cost(job, measured[SPEED])}


def _serving_gpu(strategy: Strategy) -> int | None:
    """The index of the GPU that serves: the one that trains. ``None`` for runtimes on the CPU."""
    if not RUNTIMES[str(strategy["runtime"])].is_on_gpu:
        return None
    return torch.device(str(strategy["device"])).index or 0


def deployed_scores(
    logits: Sequence[Logits], split: Split, prepared: PreparedTask, threshold: float | None
) -> Mapping[str, Measurement]:
    """The scores of the deployed model, from the logits of each example of ``split``, with the
    ``threshold`` of the trained model. Their samples are the contributions of the examples."""
    kind = kind_of(prepared)
    join = np.concatenate if kind.logits_per_token else np.stack
    values = join(list(logits))
    if kind.predicts_classes:
        values = values.argmax(axis=-1)
    values = apply_threshold(prepared.kind, split, values, threshold)
    scores = compute_scores(prepared.kind, split, values, prepared.label_names)
    for name in scores.keys() & set(HIT_SHARES):
        scores[name] = replace(scores[name], samples=_hit_samples(values, split, prepared.kind))
    named = {f"deployed_{name}": score for name, score in scores.items()}
    return {name: replace(s, name=name) for name, s in named.items() if name in METRICS}


def _hit_samples(values: np.ndarray, split: Split, kind: str) -> tuple[float, ...]:
    """The contribution of each example to the share of hits, whose mean it is."""
    correctness = find_hits(Predictions(values, np.empty(0), []), split, kind)
    assert correctness is not None
    hits, labels = count_hits(correctness)
    return tuple((hits * (len(labels) / labels.sum())).tolist())


def _cost(job: Job, speed: Measurement) -> dict[str, Measurement]:
    """The price of a million texts, if the hourly price is known."""
    if job.serving_usd is None:
        return {}
    return {COST: inverse(COST, job.serving_usd / SECONDS_PER_HOUR * 1e6, speed)}
