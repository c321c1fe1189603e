"""The dashboard: reads a store while searches run, and cannot change a study.

Shipped as ``autotune._dashboard``; imports inside are relative, so that it works from both places.
Pages are thin: what they show is computed in :mod:`autotune.analysis`.
"""
