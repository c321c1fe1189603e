"""Recommendations: by posterior means, with a probability, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from small_studies import ACCURACY, COST, SPEED, study, trial, trials

from autotune.analysis.metric_posterior import Comparison
from autotune.analysis.posterior import Posterior
from autotune.analysis.recommendation import Recommender, Status
from autotune.analysis.recommendation_text import (
    describe_comparison,
    describe_trial,
    recommendation_sentence,
)
from autotune.analysis.refutation import MIN_PROBABILITY
from autotune.analysis.snapshot import Snapshot
from autotune.domain import (
    Categorical,
    Constraint,
    Dimension,
    Measurement,
    Range,
    SearchSpace,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
    Value,
)
from autotune.domain.search_space import complete
from autotune.errors import NotFoundError
from autotune.hardware import inventory
from autotune.levers import defaults
from tests.levers.test_recipes import MINILM

KEEP_ACCURACY = Constraint(ACCURACY, ">=", -0.01, relative=True)
N = 400


def run(
    number: int, speed: float, accuracy: float, *, batch_size: int | None = None,
    reference: float = 0.1, **fields: object,
) -> Trial:  # fmt: skip
    """A trial with the intervals of 400 validation samples and of 2% of the speed."""
    settings = {"batch_size": batch_size or 8 * (number + 1), "precision": "fp32"}
    half = 1.96 * (accuracy * (1 - accuracy) / N) ** 0.5
    measurements = [
        Measurement(SPEED, speed, "samples/s", 8, (speed * 0.98, speed * 1.02)),
        Measurement(ACCURACY, accuracy, "ratio", N, (accuracy - half, accuracy + half)),
        Measurement("reference_seconds", reference, "s", 9, (reference * 0.99, reference * 1.01)),
    ]
    base = trial(number, values=settings, **fields)  # type: ignore[arg-type]
    return replace(base, result=TrialResult({m.name: m for m in measurements}))


def confirmation(number: int, source: Trial, accuracy: float, seed: int = 1) -> Trial:
    speed = source.metric(SPEED) or 0.0
    other = run(number, speed, accuracy, origin=TrialOrigin.CONFIRMATION, seed=seed)
    return replace(other, strategy=source.strategy)


def test_what_is_known_of_settings_decides_between_equal_scores() -> None:
    """Less precise arithmetic costs no accuracy, pruning a half does; the sampler knows it too."""
    settings: list[dict[str, Value]] = [{}, {"precision": "bf16"}, {"pruning_ratio": 0.5}]
    space = SearchSpace(
        (
            Dimension("precision", Categorical(("fp32", "bf16"))),
            Dimension("pruning_ratio", Range(0.0, 0.5, step=0.25)),
        ),
        defaults(inventory()),
    )
    members = [
        replace(run(number, 100 + 100 * number, 0.80), strategy=complete(space, values))
        for number, values in enumerate(settings)
    ]
    definition = replace(study(constraints=[KEEP_ACCURACY]), space=space)
    blind = Recommender(definition, members)
    assert blind.probability(members[1]) == pytest.approx(blind.probability(members[2]), abs=0.1)
    informed = Recommender(replace(definition, workload=MINILM), members)
    assert informed.probability(members[1]) > 0.1 + informed.probability(members[2])


def sentence(definition: Study, members: Sequence[Trial], goal: str = "knee") -> str:
    recommender = Recommender(definition, members)
    return recommendation_sentence(recommender, recommender.recommend(goal)) or ""


def test_a_lucky_score_is_not_the_most_accurate() -> None:
    """One of many like strategies has a lucky validation score; another one is confirmed."""
    members = [run(n, 100 + n, 0.70) for n in range(12)]
    lucky, confirmed = run(12, 112, 0.735), run(13, 113, 0.73)
    runs = [confirmation(20 + seed, confirmed, 0.73, seed) for seed in range(3)]
    runs += [confirmation(30 + seed, lucky, 0.66, seed) for seed in range(3)]
    recommender = Recommender(study(), [*members, lucky, confirmed, *runs])
    assert recommender.recommend("most-accurate").trial is confirmed
    mean = recommender.posterior.mean(lucky, ACCURACY)
    assert mean is not None and mean < 0.72


def test_a_default_outside_the_constraints_is_not_recommended() -> None:
    members = [run(0, 100, 0.80), run(1, 200, 0.795)]
    snapshot = Snapshot(study(constraints=[Constraint(ACCURACY, ">=", 0.95)]), members)
    assert snapshot.recommendations == {} and snapshot.knee is None
    sentence = snapshot.recommendation_sentence("knee") or ""
    assert "Closest is trial 1 with 0.0" in sentence and "set confirm=" in sentence
    with pytest.raises(NotFoundError, match="satisfies the constraints"):
        snapshot.recommender.recommend("knee")


def test_no_strategy_is_likely_enough() -> None:
    members = [run(0, 100, 0.80), run(1, 200, 0.795), run(2, 300, 0.60)]
    definition = study(constraints=[KEEP_ACCURACY])
    recommendation = Recommender(definition, members).recommend("fastest")
    assert recommendation.trial.number == 0 and recommendation.closest is not None
    assert recommendation.closest.trial.number == 1
    assert 0.2 < recommendation.closest.probability < MIN_PROBABILITY
    text = sentence(definition, members, "fastest")
    assert text.startswith(
        "Fastest: the default. No strategy that trains differently satisfies accuracy >= baseline"
    )
    assert "Closest is trial 1 with 0." in text and "set confirm={top: 3, seeds: 3}" in text


def test_what_trains_as_the_default_is_no_alternative() -> None:
    """A faster loader keeps every score, and is not what a search is for."""
    members = [run(0, 100, 0.80), run(1, 200, 0.795), run(2, 120, 0.80, batch_size=8)]
    members[2] = replace(members[2], strategy=members[0].strategy.with_values(loader_workers=2))
    definition = study(constraints=[KEEP_ACCURACY])
    text = sentence(definition, members, "fastest")
    assert text.startswith("Fastest: trial 2, 1.19x faster")
    assert "No strategy that trains differently" in text and "Closest is trial 1" in text


def test_a_refuted_finalist_is_not_recommended() -> None:
    default, finalist, other = run(0, 100, 0.80), run(1, 300, 0.85), run(2, 200, 0.85)
    members = [default, finalist, other]
    definition = study(constraints=[KEEP_ACCURACY])
    before = Recommender(definition, members)
    assert before.recommend("fastest").trial is finalist
    assert before.status(finalist) is Status.UNCONFIRMED
    runs = [confirmation(10 + s, default, 0.80, s) for s in range(3)]
    runs += [confirmation(20 + s, finalist, 0.70, s) for s in range(3)]
    runs += [confirmation(30 + s, other, 0.85, s) for s in range(3)]
    after = Recommender(definition, [*members, *runs])
    assert after.status(finalist) is Status.REFUTED
    assert after.recommend("fastest").trial is other
    verdicts = Snapshot(definition, [*members, *runs]).verdict_texts
    assert verdicts[2].startswith("dominated by trial 1 as measured; recommended (")
    assert verdicts[2].endswith("as confirmation refuted trial 1")


def test_a_recommended_trial_outside_a_constraint_as_measured_says_why() -> None:
    """Its validation score was unlucky; confirmation runs are better."""
    default, unlucky = run(0, 100, 0.80), run(1, 300, 0.785)
    runs = [confirmation(10 + s, default, 0.80, s) for s in range(4)]
    runs += [confirmation(20 + s, unlucky, 0.85, s) for s in range(4)]
    snapshot = Snapshot(study(constraints=[KEEP_ACCURACY]), [default, unlucky, *runs])
    assert snapshot.knee is unlucky
    assert snapshot.verdict_texts[1].startswith(
        "outside accuracy >= baseline - 0.01 as measured; recommended (knee"
    )
    assert "it satisfies every constraint with a probability of " in snapshot.verdict_texts[1]


def test_the_sentence_says_whether_it_is_confirmed() -> None:
    members = [run(0, 100, 0.70), run(1, 300, 0.80)]
    text = sentence(study(), members)
    assert text.startswith("Knee: trial 1, 3.0x faster than the default (2.")
    assert "points more accurate (+" in text
    assert text.endswith("; on validation, not confirmed.")
    runs = [confirmation(10, members[0], 0.70), confirmation(11, members[1], 0.80)]
    assert "; confirmed on the test split: 10.0 points more accurate" in sentence(
        study(), [*members, *runs]
    )


def test_a_measurement_of_an_imported_run_counts_once() -> None:
    """Two strategies of another study have the speed of one run of it, which was not imported."""
    own = [run(n, 100 + 5 * n, 0.8) for n in range(3)]
    values: list[dict[str, Value]] = [
        {"batch_size": 32, "precision": "fp32", "learning_rate": rate} for rate in (1e-5, 2e-5)
    ]
    imported = [
        trial(10 + n, {SPEED: 200.0}, values=strategy, origin=TrialOrigin.IMPORTED)
        for n, strategy in enumerate(values)
    ]
    beliefs = [
        Posterior(study(), [*own, *some]).belief(imported[0], SPEED)
        for some in (imported[:1], imported)
    ]
    assert beliefs[0] is not None and beliefs[0] == beliefs[1]


def test_drift_is_taken_out_of_the_speed() -> None:
    """The machine was half as fast in the trial of the default."""
    members = [run(0, 50, 0.70, reference=0.2), run(1, 200, 0.70, reference=0.1)]
    text = sentence(study(SPEED), members, "fastest")
    assert "1.98x faster than the default (1.8" in text, "200 against 100, shrunk a little"
    assert "relative to the reference workload, as the machine was 100% faster" in text


def test_equal_speeds_are_no_clear_difference() -> None:
    recommender = Recommender(study(), [run(0, 100, 0.70), run(1, 101, 0.80)])
    text = describe_trial(recommender, recommender.trials[1])
    assert text.startswith("no clear difference in training speed from the default (0.9")


def test_what_was_never_run_as_a_whole_says_so() -> None:
    whole = run(1, 200, 0.80)
    measurements = dict(run(2, 300, 0.80).result.measurements)
    measurements[ACCURACY] = replace(measurements[ACCURACY], source=1)
    composed = replace(run(2, 300, 0.80), result=TrialResult(measurements))
    recommender = Recommender(study(), [run(0, 100, 0.7), whole, composed])
    assert recommender.is_composed(composed) and not recommender.is_composed(whole)
    assert "never run as a whole: figures of trial 1 are used" in sentence(
        study(), recommender.trials
    )


def test_strategies_with_one_training_share_its_score() -> None:
    """The number of threads has no influence on the score."""
    space = replace(study().space, defaults={"batch_size": 8, "precision": "fp32", "threads": 1})
    first, second = run(1, 200, 0.90), run(2, 150, 0.70)
    members = [
        replace(t, strategy=Strategy({"batch_size": 16, "precision": "fp32", "threads": threads}))
        for t, threads in ((first, 1), (second, 2))
    ]
    posterior = Posterior(replace(study(), space=space), [run(0, 100, 0.80), *members])
    assert posterior.mean(members[0], ACCURACY) == posterior.mean(members[1], ACCURACY)
    assert posterior.mean(members[0], SPEED) != posterior.mean(members[1], SPEED)


def test_a_condition_must_hold_with_the_probability() -> None:
    members = [run(0, 100, 0.80), run(1, 200, 0.795), run(2, 300, 0.70)]
    recommender = Recommender(study(), members)
    assert [t.number for t in recommender.satisfying(f"{ACCURACY} >= 0.74")] == [0, 1]
    with pytest.raises(NotFoundError, match=r"with a probability of 0.8; trial \d comes closest"):
        recommender.satisfying(f"{ACCURACY} >= 0.80")


def test_a_lone_default_is_on_the_front_for_certain() -> None:
    snapshot = Snapshot(study(), [run(0, 100, 0.8)])
    assert snapshot.front_probabilities == {0: 1.0}
    assert snapshot.recommendation_sentence("knee") == "Knee: trial 0, the default configuration."


def test_the_posterior_is_deterministic() -> None:
    members = [run(n, 100 + n, 0.7) for n in range(6)]
    samples = [Posterior(study(), members).sample(ACCURACY, members) for _ in range(2)]
    assert np.array_equal(*samples)


@pytest.mark.parametrize(
    ("metric", "value", "ci95", "text"),
    [
        (SPEED, 2.0, (1.5, 2.5), "2.0x faster (1.50x to 2.5x)"),
        (SPEED, 0.5, (0.4, 0.625), "2.0x slower (1.60x to 2.5x)"),
        (SPEED, 1.05, (0.9, 1.2), "no clear difference in training speed (0.90x to 1.20x)"),
        (SPEED, 1.0, (1.0, 1.0), "as fast"),
        ("train_seconds", 0.25, (0.2, 0.5), "4.0x faster (2.0x to 5.0x)"),
        ("inference_latency_ms", 0.5, (0.5, 0.5), "2.0x faster to answer"),
        (ACCURACY, 0.05, (0.01, 0.09), "5.0 points more accurate (+1.0 to +9.0)"),
        (ACCURACY, -0.05, (-0.09, 0.01),
         "no clear difference in accuracy (-9.0 to +1.0 points)"),
        (ACCURACY, 0.0, (0.0, 0.0), "as accurate"),
        ("f1", -0.1, (-0.1, -0.1), "10.0 points lower F1"),
        (COST, 3.0, (2.0, 4.0), "3.0x the cost (2.0x to 4.0x)"),
        (COST, 1.4, (1.2, 1.6), "40% more expensive (20% to 60%)"),
        (COST, 0.4, (0.3, 0.5), "60% cheaper (50% to 70%)"),
        (COST, 1.02, (0.9, 1.2), "no clear difference in cost (-10% to +20%)"),
        ("peak_memory_gib", 0.5, (0.5, 0.5), "50% lower peak memory"),
    ],
)  # fmt: skip
def test_comparisons(metric: str, value: float, ci95: tuple[float, float], text: str) -> None:
    comparison = Comparison(metric, value, ci95, metric not in (ACCURACY, "f1"))
    assert describe_comparison(comparison) == text


def test_without_a_default_the_sentence_has_the_values() -> None:
    (other,) = trials((280, 0.808), metrics=(SPEED, ACCURACY))
    other = replace(other, number=1, origin=TrialOrigin.SAMPLED, strategy=Strategy({"a": 1}))
    text = describe_trial(Recommender(study(), [other]), other)
    assert text.startswith("training speed 280.0 samples/s (2") and ", accuracy 80.8% (7" in text
    assert text.endswith("; on validation, not confirmed")
