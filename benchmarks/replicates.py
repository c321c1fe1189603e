"""What replicates near a bound change, in simulated searches with noise of the size of real ones.

    python benchmarks/replicates.py --worlds 10

The study is that of ``constrained_search.py``. In each world the levers have other effects on the
accuracy, drawn from the priors of ``autotune/levers/priors.py`` around a typical learning rate, and
the speeds are those of a formula that is close to what was measured on two cores. A run has a seed
effect of 0.8 points and is evaluated on 872 validation or 1,821 test examples, of which the same
are hard for all strategies. Searches of 15 simulated minutes run in full, with and without
replicates, and the strategy that each recommends as the fastest is scored by its true values.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
from constrained_search import SEARCH, STUDY
from replay import fail_if_run

from autotune import spec
from autotune.analysis.recommendation import Recommender
from autotune.domain import (
    Completed,
    CurvePoint,
    Job,
    Measurement,
    Phase,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
    Value,
)
from autotune.execution.replay.benchmark import read
from autotune.execution.replay.executor import SimulatedClock
from autotune.levers.priors import ACCURACY_EFFECTS, typical_learning_rate
from autotune.measure.correctness import pack_correctness
from autotune.ports import Ask, Evaluate, ShouldStop, Tell
from autotune.store import open_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner

EXAMPLES, MINUTES = 3000, 15.0
SPLITS = {False: ("validation", 872), True: ("test", 1821)}
"""Name and examples of the evaluated split, by whether it is that of the test."""

LATENT_CORRELATION = 0.88
"""Correlation of the latent difficulty of an example between two runs: their hits correlate by 0.67
at an accuracy of 84%, as measured on SST-2."""

SEED_DEVIATION, STRATEGY_DEVIATION = 0.008, 0.003
"""Standard deviations of the accuracy between seeds and between strategies beyond the levers."""

DEFAULT_LOG_ODDS, RATE_CURVATURE = 1.68, -0.05
DEFAULT_SPEED, SETUP_SECONDS, EVALUATION_SECONDS, PROFILE_SECONDS = 28.0, 1.5, 4.0, 5.0

SPEEDUPS: Mapping[str, Mapping[Value, float]] = {
    "allocator": {"tuned": 1.15},
    "padding": {"bucketed": 1.3},
    "precision": {"bf16": 1.5, "bf16-pure": 1.75},
    "batch_size": {16: 1.1, 32: 1.2, 64: 1.3},
    "freeze_layers": {1: 1.08, 2: 1.12},
}
LEVERS = ("padding", "precision", "pruning_ratio", "pruning_method", "freeze_layers", "batch_size")


class World:
    """The true values of all strategies, and the noise of their runs."""

    def __init__(self, study: Study, number: int) -> None:
        self._study, self._number = study, number
        rng = np.random.default_rng(number)
        self._effects = {
            lever: {
                setting: effect.mean + effect.deviation * rng.standard_normal()
                for setting, effect in ACCURACY_EFFECTS[lever].items()
            }
            for lever in LEVERS
        }
        self._rate_factor = math.exp(0.5 * rng.standard_normal())
        self._difficulty = {name: rng.standard_normal(count) for name, count in SPLITS.values()}

    def speed(self, strategy: Strategy) -> float:
        """Training samples per second."""
        factors = [by_setting.get(strategy[lever], 1.0) for lever, by_setting in SPEEDUPS.items()]
        exponent = 0.9 if strategy["pruning_method"] == "layers" else 0.5
        pruned = math.pow(1 - float(strategy["pruning_ratio"]), -exponent)
        return DEFAULT_SPEED * math.prod(factors) * pruned

    def accuracy(self, strategy: Strategy) -> float:
        """The expected accuracy over all seeds and examples."""
        is_default = self._training(strategy) == self._training(self._study.baseline)
        own = 0.0 if is_default else self._rng(strategy).standard_normal()
        log_odds = self._log_odds(strategy) - self._log_odds(self._study.baseline)
        share = 1 / (1 + math.exp(-DEFAULT_LOG_ODDS - log_odds))
        return share + STRATEGY_DEVIATION * own

    def hits(self, strategy: Strategy, seed: int, split: str) -> np.ndarray:
        """Which examples a run of ``strategy`` with ``seed`` gets right."""
        rng = self._rng(strategy, seed + 1)
        share = self.accuracy(strategy) + SEED_DEVIATION * rng.standard_normal()
        difficulty = self._difficulty[split]
        noise = math.sqrt(1 - LATENT_CORRELATION) * rng.standard_normal(len(difficulty))
        latent = math.sqrt(LATENT_CORRELATION) * difficulty + noise
        return np.asarray(latent < NormalDist().inv_cdf(min(max(share, 0.5), 0.99)))

    def _log_odds(self, strategy: Strategy) -> float:
        total = 0.0
        for lever, effects in self._effects.items():
            setting = strategy[lever]
            if lever == "pruning_method" and not strategy["pruning_ratio"]:
                continue
            if setting in effects:
                total += effects[setting]
            elif isinstance(setting, int | float):
                known = sorted(s for s in effects if isinstance(s, int | float))
                total += float(np.interp(setting, known, [effects[s] for s in known]))
        assert self._study.workload is not None
        typical = typical_learning_rate(strategy, self._study.workload) * self._rate_factor
        doublings = math.log2(float(strategy["learning_rate"]) / typical)
        return total + RATE_CURVATURE * min(abs(doublings), 4.0) ** 2

    def _rng(self, strategy: Strategy, seed: int = 0) -> np.random.Generator:
        """The same for strategies that train the same model."""
        training = self._training(strategy)
        return np.random.default_rng([self._number, seed, *training.encode()])

    @staticmethod
    def _training(strategy: Strategy) -> str:
        return " ".join(str(strategy[lever]) for lever in (*LEVERS, "learning_rate"))


class SimulatedExecutor:
    """Runs jobs in a world, one after the other, in simulated time."""

    workload = None

    def __init__(self, world: World) -> None:
        self.clock, self._world, self._is_stopped = SimulatedClock(), world, False

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        while not self._is_stopped and (job := ask()) is not None:
            seconds, result = simulate(self._world, job)
            self.clock.seconds += seconds
            tell(job, Completed(result))

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def stop(self) -> None:
        self._is_stopped = True

    def close(self) -> None: ...


def simulate(world: World, job: Job) -> tuple[float, TrialResult]:
    """The duration and the result of a job."""
    speed, seconds = world.speed(job.strategy), SETUP_SECONDS
    metrics: list[Measurement] = []
    if Phase.PROFILE in job.phases:
        seconds += PROFILE_SECONDS
        metrics += [_rate("train_samples_per_second", speed),
                    _rate("inference_samples_per_second", 10 * speed),
                    Measurement("setup_seconds", SETUP_SECONDS, "s")]  # fmt: skip
    correctness = None
    if Phase.TRAIN in job.phases:
        seconds += EXAMPLES / speed + EVALUATION_SECONDS
        split, count = SPLITS[job.on_test_split]
        hits = world.hits(job.strategy, job.seed, split)
        share = float(hits.mean())
        half = 1.96 * math.sqrt(share * (1 - share) / count)
        metrics += [Measurement("accuracy", share, "ratio", count, (share - half, share + half)),
                    Measurement("train_samples", float(EXAMPLES), "samples")]  # fmt: skip
        correctness = pack_correctness(split, hits)
    if {Phase.PROFILE, Phase.TRAIN} <= set(job.phases):
        train_seconds = SETUP_SECONDS + EXAMPLES / speed
        metrics.append(Measurement("train_seconds", train_seconds, "s"))
    return seconds, TrialResult({m.name: m for m in metrics}, correctness=correctness)


def _rate(name: str, value: float) -> Measurement:
    return Measurement(name, value, "samples/s", 9, (0.98 * value, 1.02 * value))


@dataclass(frozen=True)
class Outcome:
    """The true speed of the recommended strategy relative to the default, its true difference of
    accuracy in points, and how many replicates and strategies the search ran."""

    speed: float
    points: float
    replicates: int
    trials: int


class _Silent:
    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...
    def finished(self, trial: Trial) -> None: ...


def make_study(folder: Path, seed: int, minutes: float) -> tuple[Study, Any]:
    """The study of ``constrained_search.py``, and the host of a recorded landscape."""
    landscape = read(Path(__file__).parent / "landscapes" / "minilm.parquet")
    text = STUDY.format(name="simulated", model="builtin:minilm", data=folder, device="cpu",
                        examples=EXAMPLES, precision="auto")  # fmt: skip
    for split in ("train", "validation", "test"):
        (folder / f"{split}.jsonl").write_text('{"text": "good", "label": 1}\n', encoding="utf-8")
    path = folder / "study.yaml"
    path.write_text(text + SEARCH.format(minutes=minutes, seed=seed), encoding="utf-8")
    study = spec.load(path, host=landscape.host).study
    assert landscape.workload is not None
    workload = replace(landscape.workload, train_samples=EXAMPLES)
    return replace(study, workload=workload, stopping="none"), landscape.host


def run_search(number: int, *, replicates: bool, minutes: float) -> Outcome:
    """One search in world ``number``."""
    with tempfile.TemporaryDirectory() as name:
        study, host = make_study(Path(name), number, minutes)
        world = World(study, number)
        executor = SimulatedExecutor(world)
        store = open_store(f"sqlite:///{name}/simulated.db", clock=executor.clock)
        store.create_study(study, {})
        tuner = make_tuner(
            study, store, make_sampler(study, study.workload), executor, host,
            directory=Path(name), observer=_Silent(), clock=executor.clock, replicates=replicates,
        )  # fmt: skip
        tuner.run(fail_if_run)
        trials = store.trials(study.name)
        store.close()
    strategy = Recommender(study, trials).recommend("fastest").trial.strategy
    count = sum(trial.origin is TrialOrigin.REPLICATE for trial in trials)
    speed = world.speed(strategy) / world.speed(study.baseline)
    points = 100 * (world.accuracy(strategy) - world.accuracy(study.baseline))
    return Outcome(speed, points, count, len(trials))


def table(outcomes: Mapping[bool, list[Outcome]]) -> Iterator[str]:
    yield f"{'':20}{'speed':>8}{'points':>8}{'bound kept':>12}{'replicates':>12}{'trials':>8}"
    for replicates, group in outcomes.items():
        speed = math.exp(fmean(math.log(o.speed) for o in group))
        kept = sum(o.points >= -1 for o in group)
        yield (
            f"{'with replicates' if replicates else 'without':20}{f'{speed:.2f}x':>8}"
            f"{fmean(o.points for o in group):+8.2f}{f'{kept} of {len(group)}':>12}"
            f"{fmean(o.replicates for o in group):12.1f}{fmean(o.trials for o in group):8.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    options = parser.parse_args()
    outcomes: dict[bool, list[Outcome]] = {False: [], True: []}
    for number in range(options.worlds):
        for replicates, group in outcomes.items():
            group.append(run_search(number, replicates=replicates, minutes=options.minutes))
            print(number, replicates, group[-1], flush=True)
    print("\n".join(table(outcomes)))


if __name__ == "__main__":
    main()
