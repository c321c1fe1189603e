"""Components of the user as objects: levers, metrics, losses and kinds of tasks.

They are registered in this process, and in every worker before it does anything. Workers receive
them over their sockets, by cloudpickle; nothing of them is written to a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import cloudpickle

from autotune.domain import WorkloadProfile
from autotune.domain.losses import LOSSES, LossFunction
from autotune.domain.metrics import METRICS, Metric, deployed_score, has_deployed_form
from autotune.domain.registry import Registry
from autotune.domain.tasks import TASK_KINDS, TaskKind
from autotune.errors import UsageError
from autotune.levers import LEVERS, Lever
from autotune.ports import Ask, Clock, Evaluate, Executor, ShouldStop, Tell

Component = Lever | Metric | LossFunction | TaskKind

P = ParamSpec("P")
T = TypeVar("T")

_objects: set[tuple[str, str]] = set()
"""Registry and name of what was added to this process as an object."""

_received: set[bytes] = set()
"""What this worker has registered, because unpickling it again gives other objects."""


def register(components: Sequence[Component]) -> None:
    """Add components to this process. One that was added before under the same name is replaced, so
    that a cell of a notebook can be run again.

    :raises UsageError: something is no component, or has the name of another one.
    """
    for component in components:
        for registry, record in _records(component):
            key = registry.noun, record.name
            if key in _objects:
                registry.unregister(record.name)
                _objects.discard(key)
            is_new = record.name not in registry
            registry.register(record)
            if is_new:
                _objects.add(key)


def _records(component: Component) -> list[tuple[Registry[Any], Any]]:
    """The registries of a component, with the records that go there."""
    match component:
        case Lever():
            return [(LEVERS, component)]
        case Metric():
            deployed = [deployed_score(component)] if has_deployed_form(component) else []
            return [(METRICS, metric) for metric in (component, *deployed)]
        case LossFunction():
            return [(LOSSES, component)]
        case TaskKind():
            return [(TASK_KINDS, component)]
    raise UsageError(
        f"{component!r} is no component",
        hint="components are objects of Lever, Metric, LossFunction and TaskKind",
    )


def send_components(executor: Executor, components: Sequence[Component]) -> Executor:
    """``executor``, whose workers know ``components``.

    :raises UsageError: a component cannot be sent to another process.
    """
    if not components:
        return executor
    try:
        data = cloudpickle.dumps(tuple(components))
    except Exception as error:  # whatever an object of the user raises
        raise UsageError(
            f"a component cannot be sent to another process: {type(error).__name__}: {error}",
            hint="its functions must not use open files, locks or connections of this process",
        ) from error
    return ComponentExecutor(executor, data)


@dataclass(frozen=True)
class WithComponents(Generic[P, T]):
    """Registers components, which are bytes of cloudpickle, and calls ``function``."""

    components: bytes
    function: Callable[P, T]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.components not in _received:
            register(cloudpickle.loads(self.components))
            _received.add(self.components)
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class ComponentExecutor:
    """An executor whose workers register ``components`` first."""

    executor: Executor
    components: bytes

    @property
    def clock(self) -> Clock | None:
        return self.executor.clock

    @property
    def workload(self) -> WorkloadProfile | None:
        return self.executor.workload

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        self.executor.run(ask, WithComponents(self.components, evaluate), tell, should_stop)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.executor.call(WithComponents(self.components, function), *args, **kwargs)

    def stop(self) -> None:
        self.executor.stop()

    def close(self) -> None:
        self.executor.close()
