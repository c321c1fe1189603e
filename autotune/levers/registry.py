"""The registry of levers: every tunable setting, in the order that conditions may refer to.

Built-in levers are listed here; :func:`register_lever` adds those of plug-ins. Strategies, schema,
help, docs, exports and predictions are derived from :data:`LEVERS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from autotune.domain import ForbiddenClause, Host, Phase, Strategy, Value, digest, expression
from autotune.domain.metrics import get_metric
from autotune.domain.registry import Registry
from autotune.errors import ExpressionError, UsageError
from autotune.levers import (
    adapters,
    batching,
    cluster,
    compression,
    deployment,
    devices,
    distillation,
    numerics,
    optimization,
    parallelism,
    placement,
    post_pruning,
    quantization_aware,
    regularization,
    task_settings,
)
from autotune.levers.base import ACCURACY, DEPLOYMENT, MEMORY, SHAPE, SPEED, Influence, Lever
from autotune.levers.effects import MODEL_LEVERS

BUILTIN_LEVERS = (
    cluster.NODE_CLASS,
    devices.DEVICE,
    devices.THREADS,
    devices.ALLOCATOR,
    parallelism.PARALLELISM,
    cluster.NODES,
    parallelism.DDP_BUCKET_MIB,
    parallelism.FSDP_RESHARD,
    parallelism.SEQUENCE_PARALLEL,
    parallelism.PIPELINE_SCHEDULE,
    parallelism.PIPELINE_MICROBATCHES,
    parallelism.PINNING,
    placement.PLACEMENT,
    placement.SPLIT_GPUS,
    placement.OFFLOAD,
    task_settings.MODEL,
    task_settings.MAX_LENGTH,
    batching.BATCH_SIZE,
    batching.MICRO_BATCH_SIZE,
    batching.PADDING,
    batching.LOADER_WORKERS,
    batching.PREFETCH,
    batching.PINNED_MEMORY,
    numerics.PRECISION,
    numerics.ATTENTION,
    numerics.COMPILE,
    numerics.ACTIVATION_CHECKPOINTING,
    compression.PRUNING_RATIO,
    compression.PRUNING_METHOD,
    compression.PRUNING_SCORE,
    compression.PRUNING_SCHEDULE,
    compression.FREEZE_LAYERS,
    compression.CACHE_ACTIVATIONS,
    compression.DROPOUT,
    adapters.ADAPTER,
    adapters.ADAPTER_RANK,
    adapters.ADAPTER_ALPHA,
    adapters.ADAPTER_TARGETS,
    optimization.LEARNING_RATE,
    optimization.LEARNING_RATE_SCALING,
    optimization.EPOCHS,
    optimization.OPTIMIZER,
    regularization.LR_SCHEDULER,
    regularization.WARMUP_RATIO,
    regularization.WEIGHT_DECAY,
    regularization.LAYER_DECAY,
    regularization.GRADIENT_CLIP,
    regularization.LABEL_SMOOTHING,
    distillation.DISTILLATION,
    distillation.DISTILLATION_TEMPERATURE,
    post_pruning.POST_PRUNING_RATIO,
    deployment.RUNTIME,
    deployment.QUANTIZATION,
    deployment.QUANTIZATION_GRANULARITY,
    deployment.QUANTIZATION_OPERATORS,
    quantization_aware.QUANTIZATION_AWARE,
    deployment.INFERENCE_BATCH_SIZE,
    deployment.INFERENCE_THREADS,
    deployment.INFERENCE_PADDING,
)

PHASE_INFLUENCES: Mapping[Phase, frozenset[Influence]] = {
    Phase.PROFILE: frozenset({SPEED, MEMORY}),
    Phase.TRAIN: frozenset({ACCURACY}),
    Phase.DEPLOY: frozenset({ACCURACY, DEPLOYMENT}),
    Phase.RUN: frozenset({SPEED, MEMORY, ACCURACY}),
}
"""The influences of a lever on which the results of a phase depend."""


class LeverRegistry(Registry[Lever]):
    """Checks records when they are registered, and keeps those with a stage for model set-up."""

    def __init__(self, records: Iterable[Lever]) -> None:
        self._phase_levers: dict[Phase, tuple[str, ...]] = {}
        super().__init__("lever", records)

    def register(self, record: Lever) -> None:
        """Add a lever after all others; an equal record may be registered again.

        Raises :class:`~autotune.errors.UsageError` if another lever has the name, or if the record
        contradicts itself.
        """
        _check(record, self)
        super().register(record)
        self._phase_levers.clear()
        if record.stage is not None:
            MODEL_LEVERS[record.name] = record

    def unregister(self, name: str) -> None:
        super().unregister(name)
        self._phase_levers.clear()
        MODEL_LEVERS.pop(name, None)

    def phase_levers(self, phase: Phase) -> tuple[str, ...]:
        """Names of the levers on which the results of ``phase`` depend."""
        if phase not in self._phase_levers:
            influences = PHASE_INFLUENCES[phase]
            names = (name for name, lever in self.items() if lever.influences & influences)
            self._phase_levers[phase] = tuple(names)
        return self._phase_levers[phase]


def _check(lever: Lever, others: Collection[str]) -> None:
    if not lever.name.isidentifier():
        raise UsageError(
            f"lever {lever.name!r}: not a valid name",
            hint="use lower-case letters, digits and underscores, such as my_lever",
        )
    if not lever.influences:
        raise UsageError(
            f"lever {lever.name}: influences is empty",
            hint="list what the lever changes: SPEED, MEMORY, ACCURACY",
        )
    if not callable(lever.default) and not lever.is_legal(lever.default):
        raise UsageError(
            f"lever {lever.name}: its default {lever.default!r} is not a legal setting",
            hint=f"legal settings: {lever.describe()}",
        )
    if lever.stage is not None and not (callable(lever.effect) or ":" in (lever.effect or "")):
        raise UsageError(
            f"lever {lever.name}: has a stage, but its effect is {lever.effect!r}",
            hint='write effect=f"{__name__}:FUNCTION"',
        )
    if lever.when is not None:
        _check_expression(lever, lever.when, [name for name in others if name != lever.name])


def _check_expression(lever: Lever, text: str, names: Collection[str]) -> None:
    try:
        expression.parse(text, names)
    except ExpressionError as error:
        raise UsageError(
            f"lever {lever.name}: in '{text}': {error.message}", hint=error.hint
        ) from error


LEVERS = LeverRegistry(BUILTIN_LEVERS)
"""All levers by name: built-in levers first, then plug-in levers in order of registration. Read it
when it is needed; a copy made at import lacks the plug-in levers."""

FORBIDDEN_CLAUSES = tuple(clause for lever in BUILTIN_LEVERS for clause in lever.forbidden)
"""Combinations of built-in levers that cannot work, or that repeat another one, on any host."""


def register_lever(lever: Lever) -> None:
    """Add the lever of a plug-in.

    Raises :class:`~autotune.errors.UsageError` if another lever has the name, or if the record
    contradicts itself.
    """
    for clause in lever.forbidden:  # of built-in levers they may refer to later levers
        _check_expression(lever, clause.excludes, [*LEVERS, lever.name])
    LEVERS.register(lever)


def defaults(host: Host, epochs: float = 1.0) -> dict[str, Value]:
    """The defaults of Hugging Face's Trainer on ``host``, with ``epochs`` instead of its 3."""
    return {**{name: lever.default_on(host) for name, lever in LEVERS.items()}, "epochs": epochs}


def forbidden_clauses(host: Host) -> tuple[ForbiddenClause, ...]:
    """Combinations that no study may try on ``host``."""
    return tuple(_clauses(host))


def _clauses(host: Host) -> Iterator[ForbiddenClause]:
    for lever in LEVERS.values():
        yield from lever.forbidden
    for lever in LEVERS.values():
        yield from lever.forbidden_on(host)


def phase_levers(phase: Phase) -> tuple[str, ...]:
    """Names of the levers on which the results of ``phase`` depend."""
    return LEVERS.phase_levers(phase)


def has_effect(lever: str, metric: str) -> bool:
    """Whether a lever can change ``metric``. A lever that is not registered here can change
    everything. Of what a deployed model needs, training changes only what follows from its shape.
    """
    if lever not in LEVERS:
        return True
    record, measured = LEVERS[lever], get_metric(metric)
    if measured.phase is Phase.DEPLOY and not measured.is_score:
        return bool(record.influences & {SHAPE, DEPLOYMENT})
    return lever in phase_levers(measured.phase)


def profile_key(strategy: Strategy) -> str:
    """Equal for strategies that run at the same speed in the same memory."""
    return _key(strategy, Phase.PROFILE)


def training_key(strategy: Strategy) -> str:
    """Equal for strategies that train the same model: same samples, arithmetic and updates."""
    return _key(strategy, Phase.TRAIN)


def deployment_key(strategy: Strategy) -> str:
    """Equal for strategies that deploy the same model in the same way."""
    return _key(strategy, Phase.DEPLOY)


def is_deployment_lever(name: str) -> bool:
    """Whether a lever is about the deployed model only."""
    return name in LEVERS and LEVERS[name].influences == {DEPLOYMENT}


def _key(strategy: Strategy, phase: Phase) -> str:
    """A digest of the settings on which ``phase`` depends. The lever of a plug-in that is not
    loaded may influence everything."""
    levers = {*phase_levers(phase)}
    values = strategy.key_values.items()
    return digest({n: v for n, v in values if n in levers or n not in LEVERS})
