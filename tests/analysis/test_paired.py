"""Two strategies compared by their confirmation runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autotune.analysis import paired
from autotune.analysis.paired import PairedRuns, Ratio, ScoreDifference, log_ratio_variance
from autotune.analysis.paired_text import describe_difference, describe_pairs, describe_ratio
from autotune.analysis.student_t import StudentT
from autotune.domain import Measurement, State, Strategy, Trial, TrialOrigin, TrialResult
from autotune.measure.correctness import pack_correctness

SPEED, REFERENCE = "train_samples_per_second", "reference_seconds"
DEFAULT, FAST, SMALL = (Strategy({"device": "cpu", "batch_size": size}) for size in (8, 16, 32))
EXAMPLES = 1821


def measured(**values: float) -> Mapping[str, Measurement]:
    return {
        name: Measurement(name, value, "x", EXAMPLES, (0.98 * value, 1.02 * value))
        for name, value in values.items()
    }


def trial(number: int, strategy: Strategy, **values: float) -> Trial:
    return Trial(number, State.COMPLETE, strategy, result=TrialResult(measured(**values)))


def run(number: int, strategy: Strategy, seed: int, hits: Any = None, **values: float) -> Trial:
    """A confirmation run with the accuracy of ``hits``."""
    correctness = None if hits is None else pack_correctness("test", np.asarray(hits, dtype=bool))
    accuracy = {} if hits is None else {"accuracy": float(np.mean(hits))}
    result = TrialResult(measured(**accuracy, **values), correctness=correctness)
    return Trial(
        number, State.COMPLETE, strategy, seed, TrialOrigin.CONFIRMATION, result=result
    )  # fmt: skip


def first(count: int) -> list[bool]:
    """The easiest ``count`` of all examples."""
    return [index < count for index in range(EXAMPLES)]


SEARCHED = [trial(0, DEFAULT, accuracy=0.6), trial(1, FAST, accuracy=0.61)]


def test_accuracy_is_compared_example_by_example() -> None:
    """Both are right on the same examples, but for 50: what is left is the choice of the seed, for
    which the usual variance stands."""
    trials = [*SEARCHED, run(2, DEFAULT, 1, first(1000)), run(3, FAST, 1, first(950))]
    difference = PairedRuns(trials).score_difference(SEARCHED[1], SEARCHED[0])
    assert difference is not None and difference.is_paired
    assert difference.value == pytest.approx(-50 / EXAMPLES)
    assert (difference.examples, difference.seeds) == (EXAMPLES, 1)
    low, high = difference.ci95
    assert 0.04 < high - low < 0.08
    assert difference.probability_above(-0.05) > 0.9
    assert difference.probability_above(difference.value) == pytest.approx(0.5)


def test_runs_are_paired_by_seed() -> None:
    runs = [
        run(2, DEFAULT, 1, first(1000)), run(3, FAST, 1, first(990)),
        run(4, DEFAULT, 2, first(900)), run(5, FAST, 2, first(890)), run(6, FAST, 3, first(10)),
    ]  # fmt: skip
    difference = PairedRuns([*SEARCHED, *runs]).score_difference(SEARCHED[1], SEARCHED[0])
    assert difference is not None and difference.seeds == 2
    assert difference.value == pytest.approx(-10 / EXAMPLES)


def test_strategies_that_train_the_same_model_have_no_error_of_seeds() -> None:
    """Only threads differ. The two seeds are ten points apart, which says nothing about threads."""
    other = Strategy({**DEFAULT.values, "threads": 1})
    searched = [SEARCHED[0], trial(1, other, accuracy=0.6)]
    runs = [
        run(2, DEFAULT, 1, first(1000)), run(3, other, 1, first(1000)),
        run(4, DEFAULT, 2, first(1180)), run(5, other, 2, first(1180)),
    ]  # fmt: skip
    difference = PairedRuns([*searched, *runs]).score_difference(searched[1], searched[0])
    assert difference is not None and difference.value == 0
    low, high = difference.ci95
    assert -0.001 < low <= 0 <= high < 0.001


@pytest.fixture
def without_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the examples are a source of error."""
    monkeypatch.setattr(paired, "RUN_DEVIATIONS", {})


@pytest.mark.usefixtures("without_seeds")
def test_words_of_a_sentence_belong_together() -> None:
    """200 sentences of five tags: a sentence is right or wrong as a whole."""
    starts = np.arange(1000) % 5 == 0
    sides = [np.repeat(np.arange(200) % 10 < share, 5) for share in (6, 7)]
    runs = [run(2 + n, strategy, 1, hits) for n, (strategy, hits)
            in enumerate(zip((DEFAULT, FAST), sides, strict=True))]  # fmt: skip
    as_words = PairedRuns([*SEARCHED, *runs]).score_difference(SEARCHED[1], SEARCHED[0])
    for index, hits in enumerate(sides):
        correctness = pack_correctness("test", hits, starts)
        runs[index] = replace(runs[index], result=replace(
            runs[index].result, correctness=correctness))  # fmt: skip
    as_sentences = PairedRuns([*SEARCHED, *runs]).score_difference(SEARCHED[1], SEARCHED[0])
    assert as_words is not None and as_sentences is not None
    assert as_sentences.value == pytest.approx(as_words.value) == pytest.approx(0.1)
    assert as_sentences.examples == 200
    ratio = as_sentences.estimate.scale / as_words.estimate.scale
    assert ratio == pytest.approx(math.sqrt(5), rel=0.05)


@pytest.mark.parametrize("is_split_equal", [True, False])
def test_only_equal_splits_are_paired(is_split_equal: bool) -> None:
    runs = [run(2, DEFAULT, 1, first(1000)), run(3, FAST, 1, first(950))]
    if not is_split_equal:
        other = pack_correctness("other", np.array(first(950)))
        runs[1] = replace(runs[1], result=replace(runs[1].result, correctness=other))
    difference = PairedRuns([*SEARCHED, *runs]).score_difference(SEARCHED[1], SEARCHED[0])
    assert difference is not None
    assert difference.is_paired is is_split_equal


def test_other_scores_are_compared_without_pairing() -> None:
    searched = [trial(0, DEFAULT, f1=0.6), trial(1, FAST, f1=0.61)]
    runs = [run(2, DEFAULT, 1, f1=0.58), run(3, FAST, 1, f1=0.60)]
    difference = PairedRuns([*searched, *runs]).score_difference(searched[1], searched[0], "f1")
    assert difference is not None and not difference.is_paired
    assert difference.value == pytest.approx(0.02)


@pytest.mark.usefixtures("without_seeds")
def test_scores_with_contributions_are_paired_by_example() -> None:
    """Both have equal errors but for noise: independent intervals would be 0.2 wide."""
    rng = np.random.default_rng(0)
    errors = rng.normal(1, 0.3, EXAMPLES)
    sides = errors, errors + 0.1 + rng.normal(0, 0.02, EXAMPLES)
    searched = [trial(0, DEFAULT, rmse=1.0), trial(1, FAST, rmse=1.1)]
    runs = []
    for number, (strategy, values) in enumerate(zip((DEFAULT, FAST), sides, strict=True)):
        confirmation = run(2 + number, strategy, 1, rmse=values.mean())
        score = replace(confirmation.result.measurements["rmse"], samples=tuple(values))
        result = TrialResult({"rmse": score})
        runs.append(replace(confirmation, result=result))
    difference = PairedRuns([*searched, *runs]).score_difference(searched[1], searched[0], "rmse")
    assert difference is not None and difference.is_paired
    assert (difference.examples, difference.seeds) == (EXAMPLES, 1)
    low, high = difference.ci95
    assert low < 0.1 < high and high - low < 0.004


def test_deployed_accuracy_is_compared_as_accuracy_is() -> None:
    def deployed(number: int, strategy: Strategy, count: int) -> Trial:
        hits = tuple(map(float, first(count)))
        score = Measurement("deployed_accuracy", count / EXAMPLES, "ratio", EXAMPLES, samples=hits)
        confirmation = run(number, strategy, 1, first(1000))
        figures = {**confirmation.result.measurements, score.name: score}
        return replace(confirmation, result=replace(confirmation.result, measurements=figures))

    runs = [deployed(2, DEFAULT, 1000), deployed(3, FAST, 950)]
    trained = [run(2, DEFAULT, 1, first(1000)), run(3, FAST, 1, first(950))]
    difference = PairedRuns([*SEARCHED, *runs]).score_difference(
        SEARCHED[1], SEARCHED[0], "deployed_accuracy"
    )
    expected = PairedRuns([*SEARCHED, *trained]).score_difference(SEARCHED[1], SEARCHED[0])
    assert expected is not None
    assert difference == replace(expected, metric="deployed_accuracy")
    assert describe_difference(difference).startswith("2.7 points less accurate as deployed (")


def test_nothing_is_compared_before_both_are_confirmed() -> None:
    trials = [*SEARCHED, run(2, FAST, 1, first(950), **{SPEED: 200.0})]
    pairs = PairedRuns(trials)
    assert pairs.score_difference(SEARCHED[1], SEARCHED[0]) is None
    assert pairs.ratio(SEARCHED[1], SEARCHED[0], SPEED) is None
    assert pairs.score_difference(SEARCHED[1], SEARCHED[1]) is None, "with itself"


def speeds(
    *values: tuple[float, float], reference: tuple[float, float] = (0.01, 0.01)
) -> PairedRuns:
    """Pairs of runs of the default and of the fast strategy."""
    trials = list(SEARCHED)
    for seed, pair in enumerate(values, start=1):
        for strategy, speed, seconds in zip((DEFAULT, FAST), pair, reference, strict=True):
            trials.append(run(len(trials), strategy, seed, **{SPEED: speed, REFERENCE: seconds}))
    return PairedRuns(trials)


def test_speeds_are_compared_within_pairs() -> None:
    """The machine is half as fast in the second pair."""
    ratio = speeds((100.0, 290.0), (50.0, 150.0)).ratio(SEARCHED[1], SEARCHED[0], SPEED)
    assert ratio is not None and ratio.pairs == 2 and not ratio.is_relative
    assert ratio.value == pytest.approx(math.sqrt(2.9 * 3.0))
    assert ratio.ci95[0] < ratio.value < ratio.ci95[1]
    assert ratio.probability_above(1.0) > 0.95


def test_speeds_are_relative_where_the_reference_has_moved() -> None:
    """The finalist ran while the machine took twice as long."""
    pairs = speeds((100.0, 145.0), (100.0, 150.0), reference=(0.01, 0.02))
    ratio = pairs.ratio(SEARCHED[1], SEARCHED[0], SPEED)
    assert ratio is not None and ratio.is_relative
    assert ratio.value == pytest.approx(math.sqrt(2.9 * 3.0))


def test_intervals_of_ratios_hold() -> None:
    """Simulated: three finalists with two seeds, noise of 3% and drift of 20% between seeds."""
    rng, covered, studies = np.random.default_rng(0), 0, 2000
    for _ in range(studies):
        drift = rng.normal(0, 0.2, 2)
        runs = rng.normal(0, 0.03, (4, 2)) + drift + np.log([[1.0], [2.0], [3.0], [4.0]])
        ratios = (runs[1:] - runs[0]).tolist()
        deviation, degrees = log_ratio_variance(ratios)
        estimate = StudentT(float(np.mean(ratios[0])), math.sqrt(deviation / 2), degrees)
        low, high = estimate.ci95
        covered += low <= math.log(2.0) <= high
    assert 0.94 <= covered / studies <= 0.96


def test_one_pair_has_the_variation_between_runs_or_within_them() -> None:
    within = speeds((100.0, 290.0)).ratio(SEARCHED[1], SEARCHED[0], SPEED)
    assert within is not None
    assert within.logarithm.scale == pytest.approx(math.sqrt(2) * 0.02 / 1.96, rel=0.01)
    searched = [trial(0, DEFAULT, **{SPEED: 90.0}), trial(1, FAST, **{SPEED: 300.0})]
    runs = [run(2, DEFAULT, 1, **{SPEED: 100.0}), run(3, FAST, 1, **{SPEED: 290.0})]
    between = PairedRuns([*searched, *runs]).ratio(searched[1], searched[0], SPEED)
    assert between is not None and between.logarithm.degrees == 2
    assert between.value == pytest.approx(2.9), "the confirming pair only"


def test_sentences() -> None:
    estimate = StudentT(-0.004, 0.0075, math.inf)
    difference = ScoreDifference("accuracy", estimate, 1821, 3, True)
    assert describe_difference(difference) == (
        "0.4 points less accurate (-1.9 to +1.1; 1,821 test examples, 3 seeds)"
    )
    loss = replace(difference, metric="loss", seeds=1)
    assert describe_difference(loss) == (
        "validation loss 0.0040 lower (-0.0187 to +0.0107; 1,821 test examples, 1 seed)"
    )
    ratio = Ratio(SPEED, StudentT(math.log(2.9), 0.03, math.inf), 3, False)
    assert describe_ratio(ratio) == "2.9x faster (2.7x to 3.1x; 3 pairs of runs)"
    slower = Ratio("train_seconds", StudentT(math.log(0.5), 0.03, math.inf), 1, True)
    assert describe_ratio(slower) == (
        "2.0x faster (1.89x to 2.1x; 1 pair of runs, relative to the reference workload)"
    )


def test_a_ratio_that_may_be_none_is_no_gain() -> None:
    unclear = Ratio(SPEED, StudentT(math.log(1.1), 0.1, math.inf), 2, False)
    assert describe_ratio(unclear) == (
        "no clear difference in training speed (0.90x to 1.34x; 2 pairs of runs)"
    )
    slower = Ratio(SPEED, StudentT(math.log(0.5), 0.03, math.inf), 2, False)
    assert describe_ratio(slower) == "2.0x slower (1.89x to 2.1x; 2 pairs of runs)"


def test_what_can_be_compared_is_described() -> None:
    runs = [
        run(2, DEFAULT, 1, first(1000), **{SPEED: 100.0}),
        run(3, FAST, 1, first(1000), **{SPEED: 200.0}),
    ]
    pairs = PairedRuns([*SEARCHED, *runs])
    accuracy, speed = describe_pairs(pairs, SEARCHED[1], SEARCHED[0], ["accuracy", "mcc", SPEED])
    assert accuracy.startswith("no difference in accuracy (-3.6 to +3.6; 1,821 test examples")
    assert speed.startswith("2.0x faster")
    assert describe_pairs(pairs, SEARCHED[1], None, [SPEED]) == []


def test_two_scores_differ_by_no_more_than_their_range() -> None:
    """Student's t of one pair has an interval of several hundred points."""
    difference = ScoreDifference("accuracy", StudentT(0.125, 0.18, 1.0), 1821, 1, True)
    assert difference.ci95 == (-1.0, 1.0)
    assert difference.estimate.ci95[1] > 2.0
