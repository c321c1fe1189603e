"""Runs jobs on a Ray cluster. No other package imports Ray.

Import the executor from :mod:`autotune.execution.ray.executor`. It is not imported here, so that
the processes that Ray starts on nodes load little.

Ray Tune schedules. Each trial has a small actor, which reserves the resources of its strategy in a
placement group. The trial itself runs in a worker process there, as in
:class:`~autotune.execution.local.LocalExecutor`: forked by the agent of its node, with the same
code for limits, outcomes, logs and memory timelines.
"""
