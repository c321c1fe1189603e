"""Validates sharing: differences between results that would be shared, and between seeds.

    python benchmarks/sharing_validation.py benchmarks/landscapes/trec.parquet
    python benchmarks/sharing_validation.py --live STUDY.yaml --pairs 6      # real trials, now

Two strategies with the same training key should have the same accuracy, and two with the same
profile key the same speed: the first block prints their differences. The second block prints the
differences between two seeds of one strategy. Sharing is harmless if the first are no larger than
the second. Differences of speeds are in percent, of scores in points. Recorded pairs come from a
landscape, in which every trial measured everything; ``--live`` runs pairs of a study's space.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from landscapes.record import load_benchmark, recording_overrides, search

from autotune import spec
from autotune.domain import Phase, State, Strategy, Study, TrialOrigin
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import grid
from autotune.execution.replay.benchmark import Record, TabularBenchmark, read
from autotune.hardware import inventory
from autotune.levers import profile_key, training_key
from autotune.store import open_store

REPORTED_METRICS = (
    "train_samples_per_second", "relative_speed", "inference_samples_per_second",
    "inference_latency_ms", "peak_memory_gib", "accuracy", "f1", "loss",
)  # fmt: skip
KEYS: dict[Phase, Callable[[Strategy], str]] = {
    Phase.PROFILE: profile_key,
    Phase.TRAIN: training_key,
}


def pairs(records: Iterable[Record], group: Callable[[Record], object]) -> Iterator[list[Record]]:
    """All pairs of records of one group."""
    groups: dict[object, list[Record]] = {}
    for record in records:
        groups.setdefault(group(record), []).append(record)
    for members in groups.values():
        yield from (list(pair) for pair in itertools.combinations(members, 2))


def shared_differences(landscape: TabularBenchmark, metric: str) -> list[float]:
    """Differences between strategies that would share the metric, with the same seed."""
    key = KEYS[METRICS[metric].phase]
    members = pairs(_complete(landscape), lambda r: (key(r.strategy), r.seed))
    other = (pair for pair in members if pair[0].strategy != pair[1].strategy)
    return [_difference(pair, metric) for pair in other]


def seed_differences(landscape: TabularBenchmark, metric: str) -> list[float]:
    """Differences between runs of one strategy with different seeds."""
    return [_difference(p, metric) for p in pairs(_complete(landscape), lambda r: r.strategy.key)]


def _complete(landscape: TabularBenchmark) -> list[Record]:
    return [record for record in landscape.records if record.state is State.COMPLETE]


def _difference(pair: Sequence[Record], metric: str) -> float:
    """The difference of two records: in percent of their mean, for scores in points."""
    one, other = (record.measurements[metric].value for record in pair)
    if METRICS[metric].phase is Phase.TRAIN:
        return 100 * abs(one - other)
    return 100 * abs(one - other) / ((one + other) / 2)


def quantiles(values: Sequence[float]) -> dict[str, float | int | None]:
    median, high = (float(q) for q in np.quantile(values, [0.5, 0.95])) if values else (None, None)
    return {"pairs": len(values), "median": median, "95%": high}


def report(landscape: TabularBenchmark) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """For each metric the differences of shared pairs and of seeds."""
    measured = set.intersection(*(set(record.measurements) for record in _complete(landscape)))
    return {
        metric: {
            "shared": quantiles(shared_differences(landscape, metric)),
            "seeds": quantiles(seed_differences(landscape, metric)),
        }
        for metric in REPORTED_METRICS
        if metric in measured
    }


# ------------------------------------------------------------------------------------- live trials


def run_pairs(study_file: Path, count: int, data: Path | None) -> TabularBenchmark:
    """Run ``count`` pairs with the same training key, as many with the same profile key, and one
    strategy of each pair again with another seed."""
    overrides = recording_overrides(study_file, data)
    study = spec.load(study_file, host=inventory(), overrides=overrides).study
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/pairs.db"
        store = open_store(url)
        store.create_study(study, {})
        num_queued = 0
        for one, other in sample_pairs(study, count):
            for strategy, seed in ((one, 0), (other, 0), (one, 1)):
                store.enqueue(study.name, strategy, origin=TrialOrigin.ENQUEUED, seed=seed)
                num_queued += 1
        search(study_file, url, [*overrides, f"budget={{trials: {num_queued + 1}}}"])
        landscape = load_benchmark(store, study.name, study_file.read_text(encoding="utf-8"))
        store.close()
    return landscape


def sample_pairs(study: Study, count: int) -> Iterator[tuple[Strategy, Strategy]]:
    """Random pairs of strategies of the space with the same key of a phase."""
    strategies, rng = list(grid(study.space)), random.Random(0)
    for key in KEYS.values():
        groups: dict[str, list[Strategy]] = {}
        for strategy in strategies:
            groups.setdefault(key(strategy), []).append(strategy)
        large = [members for members in groups.values() if len(members) > 1]
        for members in rng.sample(large, min(count, len(large))):
            one, other = rng.sample(members, 2)
            yield one, other


# ------------------------------------------------------------------------------------ command line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landscape", type=Path, nargs="?")
    parser.add_argument("--live", type=Path, metavar="STUDY", help="run pairs of this study file")
    parser.add_argument("--pairs", type=int, default=6, help="live pairs for each phase")
    parser.add_argument("--data", type=Path, default=os.environ.get("AUTOTUNE_DATA"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.landscape is None) == (options.live is None):
        parser.error("give a landscape, or a study file with --live")
    if options.live is not None:
        differences = report(run_pairs(options.live, options.pairs, options.data))
    else:
        differences = report(read(options.landscape))
    if options.json:
        print(json.dumps(differences, indent=1))
        return
    print(f"{'':30}{'two strategies that share it':>32}{'two seeds of one strategy':>32}")
    print(f"{'':30}" + 2 * f"{'pairs':>12}{'median':>10}{'95%':>10}")
    for metric, blocks in differences.items():
        unit = "points" if METRICS[metric].phase is Phase.TRAIN else "%"
        cells = "".join(_cells(blocks[name], unit) for name in ("shared", "seeds"))
        print(f"{metric:30}{cells}")


def _cells(block: dict[str, float | int | None], unit: str) -> str:
    values = ["-" if v is None else f"{v:.2f} {unit[:2]}" for v in (block["median"], block["95%"])]
    return f"{block['pairs']:12}{values[0]:>10}{values[1]:>10}"


if __name__ == "__main__":
    main()
