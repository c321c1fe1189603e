"""Lever ``parallelism``: a trial that several processes train together.

``collectives.py`` is the processes, ``parallelize.py`` spreads a model over them, and each kind has a file of
its own: ``ddp.py`` (ddp, zero1), ``fsdp.py``, ``tensor.py`` (tp), ``pipeline.py`` (pp).
A trial of one process imports nothing of this package.
"""
