"""Runs jobs on a Ray cluster. The only place that imports Ray; the executor is in
:mod:`autotune.execution.ray.executor`, which is not imported here, so that what Ray starts on nodes
loads little.

Ray Tune schedules. Each trial has a small actor, which gets a placement group of the shape that its
strategy asks for. The trial itself runs in a worker process there just like those of
:class:`~autotune.execution.local.LocalExecutor`, forked in no time by an agent that every node has,
so limits, outcomes, logs and memory timelines are one and the same code.
"""
