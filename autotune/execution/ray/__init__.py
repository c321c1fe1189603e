"""Runs jobs on a Ray cluster. The only place that imports Ray.

Ray Tune schedules: each trial gets a placement group of the shape its strategy asks for, and a
small actor in it. The trial itself runs beside that actor in a worker process just like those of
:class:`~autotune.execution.local.LocalExecutor`, forked in no time by an agent that every node has,
so limits, outcomes, logs and memory timelines are one and the same code.
"""

from autotune.execution.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
