"""Lever ``parallelism``: a trial that several processes train together.

``group.py`` is the processes, ``divide.py`` spreads a model over them, and each kind has a file of
its own: ``replicas.py`` (ddp, zero1), ``fsdp.py``, ``tensor.py`` (tp), ``pipeline.py`` (pp).
A trial of one process imports nothing of this package.
"""
