"""Time until the default search reaches the front of 24 random trials, measured on this machine.

Usage: python benchmarks/real_search.py [--spec search_spaces/bert.yaml] [--storage URL] [--seed 0]

Runs the study twice: once with complete random trials (no sharing, no early stopping), once as in
the study file. Both are in units of the default of the random search. An interrupted run continues;
a finished one is only read. It takes about 15 minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from autotune.analysis.budget import busy_seconds
from autotune.analysis.front import find_baseline
from autotune.analysis.hypervolume import hypervolume
from autotune.domain import State, Study, Trial, TrialOrigin
from autotune.store import open_store

ROOT = Path(__file__).parents[1]
TRIALS = 24
RANDOM_SEARCH = (
    "sampler=random", "sharing=false", "early_stopping=none", "confirm=null",
    f"budget={{trials: {TRIALS}}}",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spec", default=str(ROOT / "search_spaces/bert.yaml"))
    parser.add_argument("--storage", default="sqlite:///real-search.db")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seed = [f"sampler.seed={options.seed}"]
    _search(options, "plain", [*RANDOM_SEARCH, *seed])
    _search(options, "default", ["confirm=null", *seed])
    result = compare(options.storage)
    print(json.dumps(result) if options.json else format_result(result))


def _search(options: argparse.Namespace, name: str, overrides: Sequence[str]) -> None:
    settings = [argument for override in overrides for argument in ("--set", override)]
    command = [sys.executable, "-m", "autotune", "search", options.spec, "--study", name]
    subprocess.run([*command, "--storage", options.storage, *settings], check=True)


def compare(storage: str) -> dict[str, Any]:
    """Seconds until fractions of the hypervolume of the random search."""
    store = open_store(storage, read_only=True)
    plain, default = store.study("plain"), store.study("default")
    random_trials, default_trials = store.trials("plain"), store.trials("default")
    store.close()
    reference = find_baseline(plain, random_trials)
    goal = hypervolume(plain, random_trials)
    if reference is None or goal is None:
        raise SystemExit("the random search has no default to compare with")
    return {
        "random_seconds": busy_seconds(random_trials),
        "random_hypervolume": goal,
        "random_trials": len(random_trials),
        "default_trials": len(default_trials),
        "default_seconds": busy_seconds(default_trials),
        "default_hypervolume": _volume(default, reference, default_trials),
        "seconds_to_share": {
            str(share): _seconds_to(share * goal, default, reference, default_trials)
            for share in (0.9, 0.95, 1.0)
        },
        "random_seconds_to_share": {
            str(share): _seconds_to(share * goal, plain, reference, random_trials)
            for share in (0.9, 0.95, 1.0)
        },
    }


def _seconds_to(
    goal: float, study: Study, reference: Trial, trials: Sequence[Trial]
) -> float | None:
    """Seconds of the search until its front has the hypervolume ``goal``."""
    for seconds, finished in _over_time(trials):
        if _volume(study, reference, finished) >= goal - 1e-12:
            return seconds
    return None


def _over_time(trials: Sequence[Trial]) -> Iterator[tuple[float, list[Trial]]]:
    ended = [trial for trial in trials if trial.finished_at is not None]
    ended.sort(key=lambda trial: trial.finished_at or datetime.max)
    for count in range(1, len(ended) + 1):
        yield busy_seconds(ended[:count]), ended[:count]


def _volume(study: Study, reference: Trial, trials: Sequence[Trial]) -> float:
    """Hypervolume in units of ``reference``, which is also the first point of every front."""
    others = [t for t in trials if t.origin != TrialOrigin.DEFAULT and t.state is State.COMPLETE]
    return hypervolume(study, [reference, *others]) or 0.0


def format_result(result: dict[str, Any]) -> str:
    lines = [
        f"random: {result['random_trials']} trials in {result['random_seconds']:.0f} s, "
        f"hypervolume {result['random_hypervolume']:.3f}",
        f"default: {result['default_trials']} trials in {result['default_seconds']:.0f} s, "
        f"hypervolume {result['default_hypervolume']:.3f}",
    ]
    for share, seconds in result["seconds_to_share"].items():
        text = "not reached" if seconds is None else f"{seconds:.0f} s"
        ratio = "" if seconds is None else f" ({seconds / result['random_seconds']:.2f} of random)"
        lines.append(f"{float(share):.0%} of random's hypervolume: {text}{ratio}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
