"""From raw samples to numbers that can be believed: clocks, drift, memory, energy, statistics."""
