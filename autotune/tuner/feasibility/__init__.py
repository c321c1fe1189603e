"""Feasibility: predicts memory and time of trials, and skips those that would fail.

:mod:`.memory` computes the memory of a trial from its shapes (:mod:`.shapes`), :mod:`.memory_model`
calibrates it on measured peaks, :mod:`.time_model` predicts durations from :mod:`.flops`,
:mod:`.study_model` fits both to the trials of a study, and :mod:`.filter` decides what to skip.
"""
