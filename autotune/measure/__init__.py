"""Timing, memory and energy measurement, drift reference, and confidence intervals."""
