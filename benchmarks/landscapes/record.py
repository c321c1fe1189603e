"""Record a landscape: run every strategy of a grid and write all results as Parquet.

    python benchmarks/landscapes/record.py benchmarks/landscapes/trec.yaml --out trec.parquet

Data files, and a model folder, are looked up under ``--data`` (or ``$AUTOTUNE_DATA``). Trials are
stored in ``--storage``, so a killed recording continues when it is started again. ``--seeds 1 2``
then runs a sample again with each of these seeds: one strategy of each training key, with all other
levers at their default. ``--write-only`` writes what is stored and runs nothing. Keep the host idle
otherwise: speeds are recorded as measured.

``--shared`` runs one strategy of each training key only, and composes the records of the others
from them (``composition.py``). ``--profiles 2`` then measures the speed of each profile key twice
more. ``--cpu-clock`` times trials by their CPU time, on one core with one
thread; then other programs disturb the speeds little.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autotune import spec
from autotune.domain import (
    Job,
    Measurement,
    Outcome,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import grid
from autotune.execution.local import LocalExecutor
from autotune.execution.replay.benchmark import Record, TabularBenchmark, write
from autotune.hardware import inventory
from autotune.levers import hourly_usd, profile_key, required_resources, training_key
from autotune.store import SqlStore, open_store
from autotune.trial import evaluate
from autotune.trial.workload import profile_workload

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
from landscapes.composition import compose, sample

PHASE_END = re.compile(r"(?P<phase>.+) took (?P<seconds>[0-9.]+) s")
"""Message of the event at the end of a phase."""


CPU_CLOCK = Path(__file__).with_name("cpu_clock.py")
"""The plug-in of ``--cpu-clock``."""


def main() -> None:
    options = parse_arguments()
    overrides = recording_overrides(options.study, options.data)
    if options.cpu_clock:
        overrides.append(f"plugins=[{CPU_CLOCK}]")
    study = spec.load(options.study, host=inventory(), overrides=overrides).study
    if not options.write_only:
        run_trials(options, study, overrides)
    store = open_store(options.storage, create=False)
    text = options.study.read_text(encoding="utf-8")
    benchmark = load_benchmark(store, study.name, text)
    benchmark = replace(benchmark, workload=profile_workload(study.task))
    if options.shared:
        benchmark = compose(study, benchmark)
    write(benchmark, options.out)
    print(f"{options.out}: {len(benchmark.records)} trials, {options.out.stat().st_size:,} bytes")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="study file; its grid is recorded")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--storage", default="sqlite:///landscape.db", help="where trials go")
    parser.add_argument("--data", type=Path, default=os.environ.get("AUTOTUNE_DATA"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="further seeds")
    parser.add_argument("--shared", action="store_true", help="train each model once")
    parser.add_argument("--profiles", type=int, default=0, help="further runs of each profile")
    parser.add_argument("--order", nargs="*", default=[], metavar="LEVER",
                        help="with --shared: record their lowest values first")  # fmt: skip
    parser.add_argument("--cpu-clock", action="store_true", help="time trials by CPU time")
    parser.add_argument("--write-only", action="store_true", help="run nothing")
    return parser.parse_args()


def recording_overrides(study: Path, data: Path | None) -> list[str]:
    """Overrides that disable sharing and early stopping, and find data and model under ``data``."""
    task = spec.load(study, host=inventory()).study.task
    overrides = ["sampler=grid", "sharing=false", "early_stopping=none", "budget.trials=1000000"]
    if data is None:
        return overrides
    folder = Path(data).absolute()
    if isinstance(task.dataset, Mapping):
        files = task.dataset.items()
        overrides += [f"task.dataset.{split}={folder / name}" for split, name in files]
    if (folder / task.model).is_dir():
        overrides.append(f"task.model={folder / task.model}")
    return overrides


def run_trials(options: argparse.Namespace, study: Study, overrides: Sequence[str]) -> None:
    """Run all trials of the recording that are not stored yet."""
    if options.shared:
        seeds = options.seeds or [study.task.seed]
        count = enqueue(options.storage, study, sample(study, options.order), seeds)
        search(options.study, options.storage, [*overrides, f"budget={{trials: {count}}}"])
        measure_profiles(options, study)
        return
    search(options.study, options.storage, overrides)
    if options.seeds:
        enqueue(options.storage, study, one_per_training_key(study), options.seeds)
        search(options.study, options.storage, overrides)


def measure_profiles(options: argparse.Namespace, study: Study) -> None:
    """Run the profile phase of each profile key, until each has been measured so many times more
    than by complete trials."""
    store = open_store(options.storage)
    counts = Counter(
        profile_key(trial.strategy)
        for trial in store.trials(study.name)
        if trial.state is State.COMPLETE and trial.metric("loss") is None
    )
    strategies = {profile_key(strategy): strategy for strategy in grid(study.space)}
    pending = (
        strategy
        for repetition in range(options.profiles)
        for key, strategy in strategies.items()
        if counts[key] <= repetition
    )

    host = inventory()

    def ask() -> Job | None:
        if (strategy := next(pending, None)) is None:
            return None
        origin, seed = TrialOrigin.ENQUEUED, study.task.seed
        number = store.start(study.name, strategy, origin=origin, seed=seed).number
        folder = str(Path("runs", study.name, f"{number:04d}").absolute())
        return Job(
            study.name, number, strategy, study.task, seed, required_resources(strategy),
            study.limits, folder, hourly_usd(strategy, host, study.prices),
            phases=(Phase.PROFILE,), plugins=study.plugins,
        )  # fmt: skip

    def tell(job: Job, outcome: Outcome) -> None:
        store.finish(study.name, job.trial, outcome)

    executor = LocalExecutor()
    try:
        executor.run(ask, evaluate, tell, lambda job, point: None)
    finally:
        executor.close()
        store.close()


def search(study: Path, storage: str, overrides: Sequence[str]) -> None:
    """Run what is not stored yet: the grid and the queue."""
    options = [argument for override in overrides for argument in ("--set", override)]
    command = [sys.executable, "-m", "autotune", "search", str(study), "--storage", storage]
    subprocess.run([*command, *options], check=True)


def enqueue(
    storage: str, study: Study, strategies: Iterable[Strategy], seeds: Sequence[int]
) -> int:
    """Enqueue the strategies with each seed, unless they are stored; return the number of trials
    that the study has then."""
    store = open_store(storage)
    if study.name not in store.studies():
        store.create_study(study, {})
    trials = store.trials(study.name)
    stored = {(trial.strategy.key, trial.seed) for trial in trials}
    pairs = [(s, seed) for seed in seeds for s in strategies if (s.key, seed) not in stored]
    for strategy, seed in pairs:
        is_default = (strategy, seed) == (study.baseline, study.task.seed)
        origin = TrialOrigin.DEFAULT if is_default else TrialOrigin.ENQUEUED
        store.enqueue(study.name, strategy, origin=origin, seed=seed)
    store.close()
    return len(trials) + len(pairs)


def one_per_training_key(study: Study) -> Iterator[Strategy]:
    """Of the strategies that train the same model, the one with most levers at their default."""
    default = study.baseline
    ranked = sorted(grid(study.space), key=lambda strategy: len(strategy.differences(default)))
    yield from {training_key(strategy): strategy for strategy in reversed(ranked)}.values()


def load_benchmark(store: SqlStore, name: str, text: str) -> TabularBenchmark:
    """All finished trials of the study except interrupted ones, which have been run again."""
    finished = [
        t for t in store.trials(name) if t.state.is_finished and t.state is not State.INTERRUPTED
    ]
    records = tuple(to_record(store.trial(name, trial.number)) for trial in finished)
    return TabularBenchmark(name, records, text, store.environment(name))


def to_record(trial: Trial) -> Record:
    matches = (PHASE_END.fullmatch(event.message) for event in trial.result.events)
    phases = {match["phase"]: float(match["seconds"]) for match in matches if match}
    measurements = {
        name: replace(measurement, samples=(), warmup=())
        for name, measurement in trial.result.measurements.items()
    }
    return Record(
        trial.strategy,
        trial.seed,
        trial.origin,
        trial.state,
        trial.seconds or 0.0,
        trial.failure,
        trial.reason,
        {**dict(derive(trial, phases)), **measurements},
        phases,
        trial.result.curve,
    )


def derive(trial: Trial, phases: Mapping[str, float]) -> Iterator[tuple[str, Measurement]]:
    """Measurements that trials of an earlier version did not report, derived from their curve."""
    curve, speed = trial.result.curve, trial.metric("train_samples_per_second")
    if trial.state is not State.COMPLETE or not curve or not speed:
        return
    warmup = curve[0]
    extra = max(0.0, warmup.seconds - warmup.samples / speed)
    values = {"setup_seconds": phases["3 setup"] + extra, "train_samples": curve[-1].samples}
    for name, value in values.items():
        yield name, Measurement(name, float(value), METRICS[name].unit)


if __name__ == "__main__":
    main()
