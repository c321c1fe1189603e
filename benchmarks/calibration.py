"""How often what a search claims is true: its strategies measured again, as a whole, later.

    python benchmarks/calibration.py search_spaces/bert.yaml --strategies 100
    python benchmarks/calibration.py --report-only         # of what is stored so far

First a search, as a user runs it, under ``accuracy >= baseline - 0.01``. Then its strategies run
again without cached results, with other seeds, on the test split, in groups of one seed that begin
with a run of the default; what is recommended runs in several groups (``--seeds``). An interrupted
run continues; a finished one is only read.

An interval of a claim (``2.9x faster, 2.4x to 3.4x``) holds if the difference to the new
measurement is within the errors of both: the new one is noisy too. All differences of accuracy to
the default have the error of the default's accuracy in common, so that of one search most of them
hold or many do not; the accuracies themselves do not have it. A claim that a strategy is within a
point of the default holds unless the whole new interval is below; its probability given
the new measurement alone is printed too.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autotune import spec
from autotune.analysis.paired import PairedRuns
from autotune.analysis.recommendation import PICKS, Recommender
from autotune.analysis.refutation import MIN_PROBABILITY
from autotune.analysis.replicates import Replicates
from autotune.domain import Strategy, Study, Trial, TrialOrigin
from autotune.errors import NotFoundError
from autotune.hardware import inventory
from autotune.store import SqlStore, open_store

ROOT = Path(__file__).parents[1]
SEARCH, REPEAT = "calibration", "calibration-again"
SPEED, ACCURACY = "train_samples_per_second", "accuracy"
DIFFERENCE = "difference of accuracy to the default"
MAX_LOSS = -0.01
GROUP_SIZE, FIRST_SEED = 10, 1000
REPEATED = ("sharing=false", "early_stopping=none", "confirm=null")
SMOKE = (
    "task.model=builtin:bert-tiny", "task.train_samples=120", "task.validation_samples=60",
    "task.max_length=16",
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A claim about a strategy and its new measurement: its accuracy, the difference of that to the
    default, or the logarithm of the ratio of speeds. ``halves`` are half their 95% intervals."""

    trial: int
    metric: str
    claimed: float
    measured: float
    halves: tuple[float, float]

    @property
    def holds(self) -> bool:
        return abs(self.claimed - self.measured) <= math.hypot(*self.halves)


@dataclass(frozen=True)
class Promise:
    """That a strategy is within a point of the default: its probability when it was claimed and
    given the new measurement, and whether the whole new interval contradicts it."""

    trial: int
    claimed: float
    measured: float
    is_contradicted: bool


@dataclass(frozen=True)
class Calibration:
    """What was claimed and what was measured. ``goals`` are the recommendations by goal."""

    claims: Sequence[Claim]
    promises: Sequence[Promise]
    goals: dict[str, Promise]

    def share_of_intervals(self, metric: str) -> float | None:
        """The share of intervals of a metric that hold; ``None`` without any."""
        return _share([claim.holds for claim in self.claims if claim.metric == metric])

    @property
    def share_of_promises(self) -> float | None:
        """The share of promises that the new measurements do not contradict; ``None`` without
        any."""
        return _share([not promise.is_contradicted for promise in self.promises])


def calibrate(study: Study, trials: Sequence[Trial], repeated: Sequence[Trial]) -> Calibration:
    """Compare the claims of a search with ``repeated`` runs of its strategies."""
    recommender, pairs = Recommender(study, trials), PairedRuns(repeated)
    # The variation between seeds is that of the repeated runs; their scores belong to first runs.
    replicates = Replicates([*(t for t in trials if not t.is_confirmation), *repeated])
    default = recommender.posterior.default
    claims: list[Claim] = []
    promises: dict[int, Promise] = {}
    for trial in strategies(recommender):
        assert default is not None
        claims += _claims(recommender, pairs, replicates, trial, default)
        promise = _promise(recommender, pairs, trial, default)
        if promise is not None and promise.claimed >= MIN_PROBABILITY:
            promises[trial.number] = promise
    chosen = dict(_choices(recommender))
    goals = {goal: promises[n] for goal, n in chosen.items() if n in promises}
    return Calibration(claims, list(promises.values()), goals)


def strategies(recommender: Recommender) -> list[Trial]:
    """The first result of each strategy but the default."""
    firsts: dict[str, Trial] = {}
    for trial in recommender.candidates:
        firsts.setdefault(trial.strategy.key, trial)
    return [t for t in firsts.values() if t.strategy != recommender.study.baseline]


def _claims(
    recommender: Recommender,
    pairs: PairedRuns,
    repeated: Replicates,
    trial: Trial,
    default: Trial,
) -> Iterator[Claim]:
    claimed = recommender.posterior.compare(trial, SPEED)
    ratio = pairs.ratio(trial, default, SPEED)
    if claimed is not None and ratio is not None:
        logs = [[math.log(end) for end in ends] for ends in (claimed.ci95, ratio.ci95)]
        halves = ((logs[0][1] - logs[0][0]) / 2, (logs[1][1] - logs[1][0]) / 2)
        yield Claim(trial.number, SPEED, math.log(claimed.value), math.log(ratio.value), halves)
    belief = recommender.posterior.belief(trial, ACCURACY)
    measured = repeated.test_estimate(trial, ACCURACY)
    if belief is not None and measured is not None and measured.ci95 is not None:
        halves = _half(belief.ci95), _half(measured.ci95)
        yield Claim(trial.number, ACCURACY, belief.value, measured.value, halves)
    claimed = recommender.posterior.compare(trial, ACCURACY)
    difference = pairs.score_difference(trial, default)
    if claimed is not None and difference is not None:
        halves = _half(claimed.ci95), _half(difference.ci95)
        yield Claim(trial.number, DIFFERENCE, claimed.value, difference.value, halves)


def _half(ends: tuple[float, float]) -> float:
    return (ends[1] - ends[0]) / 2


def _promise(
    recommender: Recommender, pairs: PairedRuns, trial: Trial, default: Trial
) -> Promise | None:
    difference = pairs.score_difference(trial, default)
    if difference is None:
        return None
    return Promise(
        trial.number,
        recommender.probability(trial),
        difference.probability_above(MAX_LOSS),
        difference.ci95[1] < MAX_LOSS,
    )


def _choices(recommender: Recommender) -> Iterator[tuple[str, int]]:
    """The recommended trial for each goal that the study measured."""
    for goal in ("knee", *PICKS):
        try:
            yield goal, recommender.recommend(goal).trial.number
        except NotFoundError:
            continue


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


# ---------------------------------------------------------------------------------------- the runs


def enqueue(
    store: SqlStore,
    study: Study,
    recommended: Sequence[Strategy],
    others: Sequence[Strategy],
    seeds: int,
) -> int:
    """Queue the runs of :func:`groups` that are not stored yet; return the number of runs that the
    study has then."""
    if study.name not in store.studies():
        store.create_study(study, {})
    stored = {(t.strategy.key, t.seed) for t in store.trials(study.name) if t.is_informative}
    for seed, members in groups(recommended, others, seeds):
        for strategy in (study.baseline, *members):
            if (strategy.key, seed) not in stored:
                store.enqueue(study.name, strategy, origin=TrialOrigin.CONFIRMATION, seed=seed)
    return len(store.trials(study.name))


def groups(
    recommended: Sequence[Strategy], others: Sequence[Strategy], seeds: int
) -> Iterator[tuple[int, Sequence[Strategy]]]:
    """Seeds with the strategies that run with them, besides the default: ``recommended`` ones with
    the first ``seeds``, others with one."""
    num_groups = max(math.ceil(len(others) / GROUP_SIZE), seeds * bool(recommended))
    for index in range(num_groups):
        members = others[index * GROUP_SIZE : (index + 1) * GROUP_SIZE]
        first = recommended if index < seeds else ()
        yield FIRST_SEED + index, [*first, *members]


def choose_strategies(
    study: Study, trials: Sequence[Trial], count: int
) -> tuple[list[Strategy], list[Strategy]]:
    """The strategies that are recommended, and a random sample of the others: ``count`` in all, if
    there are so many."""
    recommender = Recommender(study, trials)
    numbers = {number for _, number in _choices(recommender)}
    recommended: list[Strategy] = []
    others: list[Strategy] = []
    for trial in strategies(recommender):
        (recommended if trial.number in numbers else others).append(trial.strategy)
    random.Random(0).shuffle(others)
    return recommended, others[: max(count - len(recommended), 0)]


def run(options: argparse.Namespace) -> None:
    """Search, then measure the strategies again; both continue where they were interrupted."""
    smoke = SMOKE if options.smoke else ()
    searching = [
        f"constraints=[accuracy >= baseline - {-MAX_LOSS}]",
        f"budget={{trials: {math.ceil(1.5 * options.strategies)}}}",
        *smoke,
    ]
    _search(options, SEARCH, searching)
    repeating = [*REPEATED, *smoke]
    store = open_store(options.storage)
    study = spec.load(options.study, host=inventory(), overrides=repeating).study
    chosen = choose_strategies(store.study(SEARCH), store.trials(SEARCH), options.strategies)
    runs = enqueue(store, replace(study, name=REPEAT), *chosen, options.seeds)
    store.close()
    _search(options, REPEAT, [*repeating, f"budget={{trials: {runs + 1}}}"])


def _search(options: argparse.Namespace, name: str, overrides: Sequence[str]) -> None:
    settings = [argument for override in overrides for argument in ("--set", override)]
    command = [sys.executable, "-m", "autotune", "search", str(options.study), "--study", name]
    subprocess.run([*command, "--storage", options.storage, *settings], check=True)


# ------------------------------------------------------------------------------------ command line


def format_calibration(calibration: Calibration) -> str:
    lines = []
    for metric in (SPEED, ACCURACY, DIFFERENCE):
        count = sum(claim.metric == metric for claim in calibration.claims)
        share = calibration.share_of_intervals(metric)
        lines.append(f"{metric}: {_percent(share)} of {count} intervals hold")
    promises = calibration.promises
    claim = f"within {-100 * MAX_LOSS:g} point of the default"
    share = calibration.share_of_promises
    lines.append(f"{claim}: {_percent(share)} of {len(promises)} claims are not contradicted")
    if promises:
        mean = sum(promise.measured for promise in promises) / len(promises)
        lines.append(f"{claim}: mean probability {mean:.2f} given the new measurements")
    lines += [
        f"{goal}: trial {promise.trial}, claimed with {promise.claimed:.2f}, measured "
        f"{promise.measured:.2f}"
        for goal, promise in calibration.goals.items()
    ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, nargs="?", default=ROOT / "search_spaces/bert.yaml")
    parser.add_argument("--strategies", type=int, default=100, help="how many run again, at most")
    parser.add_argument("--seeds", type=int, default=5, help="of each recommended strategy")
    parser.add_argument("--storage", default="sqlite:///calibration.db")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, four strategies")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.strategies, options.seeds = min(options.strategies, 4), min(options.seeds, 2)
    return options


def main() -> None:
    options = parse_arguments()
    if not options.report_only:
        run(options)
    store = open_store(options.storage, create=False)
    calibration = calibrate(store.study(SEARCH), store.trials(SEARCH), store.trials(REPEAT))
    store.close()
    if options.json:
        print(json.dumps({**asdict(calibration), "holds": {
            metric: calibration.share_of_intervals(metric)
            for metric in (SPEED, ACCURACY, DIFFERENCE)
        }}, indent=1))  # fmt: skip
        return
    print(format_calibration(calibration))


if __name__ == "__main__":
    main()
