"""The speeds of a trial as they were at the speed that the machine had in the default's trial.

A busy machine would make the strategies look slow that ran while it was busy.
"""

from __future__ import annotations

import math
from dataclasses import replace

from autotune.analysis.drift import relative_correction
from autotune.domain import Measurement, Trial, TrialOrigin


def correct_drift(trial: Trial, default: Trial | None) -> Trial:
    """``trial`` with the rates, times and costs that follow from the speed of the machine in
    ``default``; unchanged without a reference workload in both, or from another host."""
    if default is None or trial.origin == TrialOrigin.TRANSFERRED:
        return trial
    measurements = {
        name: _scale(measurement, relative_correction(name, trial, default))
        for name, measurement in trial.result.measurements.items()
    }
    return replace(trial, result=replace(trial.result, measurements=measurements))


def _scale(measurement: Measurement, factor: float) -> Measurement:
    if factor == 1 or not math.isfinite(measurement.value):
        return measurement
    return replace(measurement, value=measurement.value * factor)
