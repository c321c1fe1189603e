"""Lever ``parallelism``: a trial that several processes train.

``collectives.py`` holds the process group, ``parallelize.py`` applies the lever to a model. Each
kind has a module: ``ddp.py`` (ddp, zero1), ``fsdp.py``, ``tensor.py`` (tp), ``pipeline.py`` (pp).
Trials of one process import only ``process_group.py``.
"""
