"""Record a landscape: run every strategy of a grid for real, and write what each did as Parquet.

    python benchmarks/landscapes/record.py benchmarks/landscapes/trec.yaml --out trec.parquet

Data files, and a model of one's own, are looked for under ``--data`` (or ``$AUTOTUNE_DATA``). The
trials go to ``--storage``, so a recording that was killed goes on where it was. ``--seeds 1 2``
then runs a sample once more with each of these seeds: every strategy that trains another model,
with all levers that have no part in accuracy at their default. ``--write-only`` writes what is
stored and runs nothing. Keep the machine free of other work meanwhile: speeds are recorded as they
are.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autotune import spec
from autotune.domain import Measurement, State, Strategy, Study, Trial, TrialOrigin
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import grid
from autotune.execution.replay import benchmark as landscapes
from autotune.execution.replay.benchmark import Record, TabularBenchmark
from autotune.hardware import inventory
from autotune.levers import training_key
from autotune.store import SqlStore, open_store
from autotune.trial.workload import describe

TOOK = re.compile(r"(?P<phase>.+) took (?P<seconds>[0-9.]+) s")
"""The event that ends a phase of a trial."""


def main() -> None:
    options = parsed()
    overrides = placed(options.study, options.data)
    if not options.write_only:
        search(options.study, options.storage, overrides)
        if options.seeds:
            queue_again(
                options.storage, spec.load(options.study, host=inventory()).study, options.seeds
            )
            search(options.study, options.storage, overrides)
    text = options.study.read_text(encoding="utf-8")
    name = spec.load(options.study, host=inventory()).study.name
    store = open_store(options.storage, create=False)
    study = spec.load(options.study, host=inventory(), overrides=overrides).study
    landscape = replace(collected(store, name, text), anatomy=describe(study.task))
    landscapes.write(landscape, options.out)
    print(f"{options.out}: {len(landscape.records)} trials, {options.out.stat().st_size:,} bytes")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="study file; its grid is recorded")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--storage", default="sqlite:///landscape.db", help="where trials go")
    parser.add_argument("--data", type=Path, default=os.environ.get("AUTOTUNE_DATA"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="further seeds")
    parser.add_argument("--write-only", action="store_true", help="run nothing")
    return parser.parse_args()


def placed(study: Path, data: Path | None) -> list[str]:
    """Overrides that turn sharing and stopping off, and find data and model under ``data``."""
    task = spec.load(study, host=inventory()).study.task
    found = ["sampler=grid", "sharing=false", "early_stopping=none", "budget.trials=1000000"]
    if data is None:
        return found
    here = Path(data).absolute()
    if isinstance(task.dataset, Mapping):
        found += [f"task.dataset.{split}={here / name}" for split, name in task.dataset.items()]
    return [*found, *([f"task.model={here / task.model}"] if (here / task.model).is_dir() else [])]


def search(study: Path, storage: str, overrides: Sequence[str]) -> None:
    """Run what is not stored yet: the grid, and what is queued."""
    options = [part for override in overrides for part in ("--set", override)]
    command = [sys.executable, "-m", "autotune", "search", str(study), "--storage", storage]
    subprocess.run([*command, *options], check=True)


def queue_again(storage: str, study: Study, seeds: Sequence[int]) -> None:
    """Queue one strategy of each training group once more under each seed."""
    store = open_store(storage, create=False)
    known = {(trial.strategy.key, trial.seed) for trial in store.trials(study.name)}
    for strategy in one_of_each(study):
        for seed in seeds:
            if (strategy.key, seed) not in known:
                store.enqueue(study.name, strategy, origin=TrialOrigin.ENQUEUED, seed=seed)
    store.close()


def one_of_each(study: Study) -> Iterator[Strategy]:
    """Of the strategies that train the same model the one with most levers at their default."""
    default = study.baseline
    ranked = sorted(grid(study.space), key=lambda strategy: len(strategy.differences(default)))
    yield from {training_key(strategy): strategy for strategy in reversed(ranked)}.values()


def collected(store: SqlStore, name: str, text: str) -> TabularBenchmark:
    """All finished trials of the study as a landscape. Interrupted ones have been run again."""
    ended = [t for t in store.trials(name) if t.state.finished and t.state is not State.INTERRUPTED]
    records = tuple(recorded(store.trial(name, trial.number)) for trial in ended)
    return TabularBenchmark(name, records, text, store.environment(name))


def recorded(trial: Trial) -> Record:
    taken = (TOOK.fullmatch(event.message) for event in trial.result.events)
    phases = {match["phase"]: float(match["seconds"]) for match in taken if match}
    bare = {
        name: replace(number, samples=(), warmup=())
        for name, number in trial.result.measurements.items()
    }
    return Record(
        trial.strategy,
        trial.seed,
        trial.origin,
        trial.state,
        trial.seconds or 0.0,
        trial.failure,
        trial.reason,
        {**dict(derived(trial, phases)), **bare},
        phases,
        trial.result.curve,
    )


def derived(trial: Trial, phases: Mapping[str, float]) -> Iterator[tuple[str, Measurement]]:
    """What trials of an earlier version did not report of themselves, from what they did."""
    curve, speed = trial.result.curve, trial.metric("train_samples_per_second")
    if trial.state is not State.COMPLETE or not curve or not speed:
        return
    warmup = curve[0]
    extra = max(0.0, warmup.seconds - warmup.samples / speed)
    known = {"setup_seconds": phases["3 apply"] + extra, "train_samples": curve[-1].samples}
    for name, value in known.items():
        yield name, Measurement(name, float(value), METRICS[name].unit)


if __name__ == "__main__":
    main()
