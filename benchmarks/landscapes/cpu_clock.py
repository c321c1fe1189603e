"""A plug-in for recordings: trials time themselves by the CPU time of their process.

On one core with one thread this is the time that a trial takes on an idle machine, whatever else
wants the core meanwhile. Trials on accelerators, or with more threads, must not use it.
"""

from __future__ import annotations

import time

time.perf_counter = time.process_time
