"""Tunes a ``Trainer`` of Hugging Face's transformers that a user has built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune import domain
from autotune.api.callbacks import Callback
from autotune.api.output import observe, quiet_unless
from autotune.api.result import Result, load
from autotune.api.study import Study
from autotune.domain import Host, Strategy, Task, Trial, Value
from autotune.domain.datasets import TRAINER_DATASET
from autotune.domain.metrics import METRICS
from autotune.domain.study import Direction
from autotune.errors import AutotuneError, UsageError
from autotune.ports import Evaluate

if TYPE_CHECKING:  # torch and transformers take seconds to import
    from transformers import Trainer

    from autotune.api.trainer_parts import TrainerParts

DEFAULT_OBJECTIVES = ("train_samples_per_second", "accuracy")
DEFAULT_CONSTRAINTS = ("accuracy >= baseline - 0.01",)


@dataclass(frozen=True, eq=False)
class TunedTrainer(Result):
    """The result of :func:`tune`."""

    def apply(self, trainer: Trainer, query: str = "knee") -> Trainer:
        """A Trainer like ``trainer`` with the settings of the trial that ``query`` names: arguments
        set, callbacks added, the model pruned and frozen. It can be trained and saved as usual.

        Threads and allocator are set for this process.
        """
        from autotune.api.trainer_parts import TrainerParts

        trial = self.pick(query)
        _apply_process_levers(trial.strategy)
        parts = TrainerParts.of_trainer(trainer)
        folder = Path(str(trainer.args.output_dir))
        return parts.build(self.study, trial.strategy, int(trainer.args.seed), folder)


def tune(
    trainer: Trainer,
    *,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    constraints: Sequence[str] = DEFAULT_CONSTRAINTS,
    space: Mapping[str, Any] | None = None,
    minutes: float | None = 15,
    trials: int | None = None,
    name: str = "trainer",
    metrics: Mapping[str, Direction] | None = None,
    test_dataset: Any = None,
    confirm_seeds: int = 1,
    storage: str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> TunedTrainer:
    """Search how ``trainer`` trains faster at the same quality. Every trial is a fine-tune of its
    model on its data in a process of its own; ``trainer`` itself is not changed.

    ``trainer`` has not trained yet, and has an ``eval_dataset``. Scores are those of its
    ``compute_metrics``; ``metrics`` gives the direction of those that autotune does not know. The
    search ends after ``minutes`` or ``trials``, or without either after 24 trials. ``space`` maps
    levers to settings as in a study file; by default all that can be applied to a Trainer. The
    baseline are the trainer's own arguments. With ``test_dataset``, the best trials are confirmed
    on it under ``confirm_seeds`` other seeds. With ``load_best_model_at_end`` trials evaluate as
    ``trainer`` does, and their best weights count. Functions and classes reach them by cloudpickle.

    :raises UsageError: the trainer cannot be built again, follow a lever, or measure an objective.
    """
    from autotune.cli.executors import open_executor
    from autotune.cli.interrupts import interruptible
    from autotune.cli.options import default_storage, runs_directory
    from autotune.store import open_driver_store
    from autotune.tuner.session import SearchSession

    url, directory = storage or default_storage(), runs_directory()
    with quiet_unless(progress), open_executor(domain.ExecutorConfig()) as (executor, host):
        parts = _parts(trainer, test_dataset)
        study = _study(
            name, parts, host, objectives=objectives, constraints=constraints, space=space,
            budget={"trials": trials, "minutes": minutes}, confirm_seeds=confirm_seeds,
            metrics=metrics or {},
        )  # fmt: skip
        evaluate = _trial_function(parts, study, metrics or {})
        store = open_driver_store(url, directory / ".journal")
        with closing(store):
            session = SearchSession(study, store, executor, host, directory=directory)
            session.create_or_continue()
            with (
                session.acquire() as stored,
                observe(study, stored, callbacks, progress) as observer,
                interruptible(session.stop, session.abort),
            ):
                outcome = session.run(observer, evaluate)
    if outcome.failure is not None or not (outcome.has_completed_trial or outcome.is_interrupted):
        raise AutotuneError(
            outcome.failure or "no trial completed", hint=_log_hint(outcome.trials, directory)
        )
    result = load(name, url)
    return TunedTrainer(study, result.trials, url, result.environment, outcome.reason)


def _parts(trainer: Trainer, test_dataset: Any) -> TrainerParts:
    from autotune.api.trainer_parts import TrainerParts

    if not hasattr(trainer.train_dataset, "__len__"):
        raise UsageError(
            "the Trainer has no train_dataset with a length",
            hint="every trial trains on it; turn a stream into a datasets.Dataset",
        )
    if trainer.eval_dataset is None:
        raise UsageError("the Trainer has no eval_dataset", hint="trials are compared on it")
    if isinstance(trainer.eval_dataset, Mapping):
        raise UsageError(
            "the Trainer has several eval_datasets", hint="trials are compared on one; give that"
        )
    return TrainerParts.of_trainer(trainer, test_dataset)


def _trial_function(
    parts: TrainerParts, study: domain.Study, metrics: Mapping[str, Direction]
) -> Evaluate:
    import cloudpickle

    from autotune.api.trainer_trial import TrainerTrial

    try:
        data = cloudpickle.dumps(parts)
    except Exception as error:  # whatever an object of the user raises
        raise UsageError(
            f"the Trainer cannot be sent to another process: {type(error).__name__}: {error}",
            hint="data, collator, callbacks and functions have to be picklable by cloudpickle",
        ) from error
    return TrainerTrial(data, study, tuple(metrics.items()))


def _study(
    name: str,
    parts: TrainerParts,
    host: Host,
    *,
    objectives: Sequence[str],
    constraints: Sequence[str],
    space: Mapping[str, Any] | None,
    budget: Mapping[str, float | None],
    confirm_seeds: int,
    metrics: Mapping[str, Direction],
) -> domain.Study:
    """The study of a Trainer: resolved like a study file, with the trainer's settings as baseline
    and its model and data as task."""
    from autotune.api.trainer_evaluations import add_evaluations
    from autotune.api.trainer_trial import register_metrics

    register_metrics(metrics)
    baseline = parts.baseline()
    epochs = float(baseline.pop("epochs"))
    steps = int(parts.arguments.max_steps) if parts.arguments.max_steps > 0 else None
    length = {"epochs": epochs} if steps is None else {"steps": steps}
    resolved = Study(
        name,
        task={"model": "builtin:minilm", "dataset": "builtin:docstrings", **length},
        objectives=list(objectives),
        constraints=list(constraints),
        space=dict(space) if space is not None else _default_space(parts, baseline),
        baseline=baseline,
        budget={name: limit for name, limit in budget.items() if limit is not None},
    ).validate(host)
    _require_applicable(resolved)
    if "compute_metrics" not in parts.options:
        _require_no_scores(resolved)
    data, model = parts.options["train_dataset"], parts.model
    task = Task(
        model=type(model).__name__ if model is not None else "model_init",
        dataset=f"{TRAINER_DATASET}{type(data).__name__}",
        epochs=epochs,
        steps=steps,
        seed=int(parts.arguments.seed),
        train_samples=len(data),
    )
    has_test = parts.test_dataset is not None
    return replace(
        resolved,
        task=add_evaluations(task, parts.arguments),
        sharing=False,
        confirm=domain.Confirmation(top=2, seeds=confirm_seeds) if has_test else None,
        start_with=(),
    )


def _default_space(parts: TrainerParts, baseline: Mapping[str, Value]) -> dict[str, Any]:
    """All levers that can be applied to the trainer, around its own settings."""
    size, rate = int(baseline["batch_size"]), float(baseline["learning_rate"])
    space: dict[str, Any] = {
        "threads": "auto",
        "allocator": "auto",
        "batch_size": sorted({max(size // 2, 1), size, 2 * size, 4 * size}),
        "precision": "auto",
        "learning_rate": {"low": rate / 4, "high": min(rate * 16, 1.0), "log": True},
    }
    if parts.has_input_ids:
        space["padding"] = ["dynamic", "bucketed"]
    if parts.has_encoder:
        space["freeze_layers"] = [0, 1, 2]
        space["pruning_ratio"] = [0.0, 0.25, 0.5]
        space["pruning_method"] = ["structured", "layers"]
    return space


def _require_applicable(study: domain.Study) -> None:
    from autotune.api.trainer_parts import LEVERS

    others = [d.lever for d in study.space.dimensions if d.lever not in LEVERS]
    if others:
        raise UsageError(
            f"{', '.join(others)} cannot be applied to a Trainer",
            hint=f"levers of a Trainer: {', '.join(LEVERS)}",
        )


def _require_no_scores(study: domain.Study) -> None:
    names = [name for name in study.target_metrics if METRICS[name].is_score and name != "loss"]
    if names:
        raise UsageError(
            f"the Trainer has no compute_metrics, which measures {' and '.join(names)}",
            hint="give it one that returns them, or tune with objectives and constraints of loss",
        )


def _apply_process_levers(strategy: Strategy) -> None:
    import torch

    from autotune.trial.effects import allocator

    allocator.apply(str(strategy["allocator"]))
    torch.set_num_threads(int(strategy["threads"]))


def _log_hint(trials: Sequence[Trial], directory: Path) -> str:
    logs = [trial.result.log for trial in trials if trial.result.log]
    return f"the log of the last trial: {logs[-1]}" if logs else f"logs are in {directory}"
