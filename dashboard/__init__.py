"""The dashboard: reads a store while searches run, and cannot change a study.

In a wheel this package is ``autotune._dashboard``, so it imports its own modules relatively. Pages
only display: what they show is computed in :mod:`autotune.analysis`.
"""
