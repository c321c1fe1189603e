"""Which strategies are run again with another seed, and what their replicates change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest

from autotune.analysis.front import pareto_front
from autotune.analysis.posterior import Posterior
from autotune.analysis.recommendation import Recommender
from autotune.analysis.replicates import with_mean_scores
from autotune.analysis.snapshot import Snapshot
from autotune.domain import (
    Budget,
    Constraint,
    CurvePoint,
    FailureReason,
    Measurement,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.levers import phase_levers
from autotune.tuner.early_stopping import optimistic
from autotune.tuner.learning_curves import LearningCurves, TrialProgress
from autotune.tuner.replication import (
    MAX_RATIO,
    SEED_OFFSET,
    Fits,
    Replication,
    choose_replicate,
)
from autotune.tuner.samplers.factored.acquisition import AcquisitionScorer
from autotune.tuner.samplers.factored.encoding import group_key
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.posterior import Posterior as SamplerPosterior
from autotune.tuner.samplers.factored.surrogates import Surrogates
from autotune.tuner.score_forecast import ScoreUpperBound
from autotune.tuner.sources import SeedReplicates
from tests.tuner.small_study import finished_trial, make_turn

FAST = {"pruning_ratio": 0.25, "precision": "bf16", "threads": 2}


@pytest.fixture
def study(study: Study) -> Study:
    return replace(study, constraints=(Constraint("accuracy", ">=", -0.01, relative=True),))


def measured(number: int, strategy: Strategy, speed: float, accuracy: float, **kw: Any) -> Trial:
    """A trial evaluated on 1,000 examples."""
    half = 1.96 * (accuracy * (1 - accuracy) / 1000) ** 0.5
    ci95 = (accuracy - half, accuracy + half)
    metrics = (
        Measurement("train_samples_per_second", speed, "x", 9, (0.99 * speed, 1.01 * speed)),
        Measurement("accuracy", accuracy, "x", 1000, ci95),
    )
    result = TrialResult({metric.name: metric for metric in metrics})
    return replace(finished_trial(number, strategy), result=result, **kw)


def trials(study: Study, accuracy: float) -> list[Trial]:
    """The default, slow strategies, and number 5, which is three times as fast."""
    base, scores = study.baseline, (0.85, 0.835, 0.862, 0.84, 0.87, accuracy, 0.83, 0.86, 0.82)
    settings: list[dict[str, Any]] = [{"learning_rate": 2e-5 * (n + 1)} for n in range(9)]
    settings[0], settings[5] = {}, FAST
    return [
        measured(number, base.with_values(**setting), 300.0 if setting is FAST else 100.0, score)
        for number, (setting, score) in enumerate(zip(settings, scores, strict=True))
    ]


def deployed(trial: Trial) -> Trial:
    """``trial`` with a deployed model that is as accurate as the trained one."""
    accuracy = replace(trial.result.measurements["accuracy"], name="deployed_accuracy")
    metrics = {**trial.result.measurements, accuracy.name: accuracy}
    return replace(trial, result=replace(trial.result, measurements=metrics))


def replicate(number: int, trial: Trial, accuracy: float, index: int = 0) -> Trial:
    seed = SEED_OFFSET + index
    origin = TrialOrigin.REPLICATE
    return measured(number, trial.strategy, 300.0, accuracy, seed=seed, origin=origin)


def always_fits(strategy: Strategy, seconds: float, runs: int) -> bool:
    return True


def probability(study: Study, history: Sequence[Trial]) -> float:
    return Recommender(study, history).probability(history[5])


def test_a_fast_strategy_near_the_bound_is_run_again(study: Study) -> None:
    history = trials(study, 0.843)
    assert 0.3 < probability(study, history) < 0.8, "near the bound"
    assert choose_replicate(study, history, always_fits) == (history[5].strategy, SEED_OFFSET)


def test_a_deployment_near_the_bound_is_trained_and_deployed_again(study: Study) -> None:
    """Its replicates are not those of another deployment of the same training."""
    bound = Constraint("deployed_accuracy", ">=", -0.01, relative=True)
    study = replace(study, constraints=(bound,))
    history = [deployed(trial) for trial in trials(study, 0.843)]
    proposal = (history[5].strategy, SEED_OFFSET)
    assert choose_replicate(study, history, always_fits) == proposal
    other = replace(
        history[5], number=9, strategy=history[5].strategy.with_values(runtime="onnxruntime")
    )
    runs = [deployed(replicate(10 + n, other, 0.80, n)) for n in range(2)]
    assert choose_replicate(study, [*history, other, *runs], always_fits) == proposal
    means = {trial.number: trial for trial in with_mean_scores([*history, other, *runs])}
    assert means[9].metric("deployed_accuracy") == pytest.approx((0.843 + 0.80 + 0.80) / 3)
    assert means[5].metric("deployed_accuracy") == 0.843
    assert means[5].metric("accuracy") == means[9].metric("accuracy")


def test_nothing_is_run_again_without_gain(study: Study) -> None:
    """The fast strategy violates the bound, or there is no bound on a score."""
    assert choose_replicate(study, trials(study, 0.70), always_fits) is None
    free = replace(study, constraints=())
    assert choose_replicate(free, trials(study, 0.843), always_fits) is None


def test_a_replicate_needs_trials_of_the_sampler_and_time(study: Study) -> None:
    history = trials(study, 0.843)
    assert choose_replicate(study, history[:4], always_fits) is None
    assert choose_replicate(study, history, lambda strategy, seconds, runs: False) is None


def test_replicates_are_limited(study: Study) -> None:
    history = trials(study, 0.843)
    count = ceil(MAX_RATIO * len(history[1:]))
    repeated = [*history, *(replicate(9 + n, history[5], 0.845, n) for n in range(count))]
    assert choose_replicate(study, repeated, always_fits) is None


def test_a_strategy_has_two_replicates_at_most(study: Study) -> None:
    """The next replicate is that of the default."""
    history = trials(study, 0.843)
    repeated = [*history, *(replicate(9 + n, history[5], 0.843, n) for n in range(2))]
    choice = choose_replicate(study, repeated, always_fits)
    assert choice is None or choice[0] == study.baseline


def test_good_replicates_make_a_strategy_recommended(study: Study) -> None:
    history = trials(study, 0.843)
    repeated = [*history, *(replicate(9 + n, history[5], 0.856, n) for n in range(2))]
    assert probability(study, history) < 0.8 < probability(study, repeated)
    assert Recommender(study, repeated).recommend("fastest").trial.number == 5


def test_bad_replicates_lower_the_probability(study: Study) -> None:
    history = trials(study, 0.843)
    repeated = [*history, *(replicate(9 + n, history[5], 0.82, n) for n in range(2))]
    assert probability(study, repeated) < probability(study, history) - 0.1


def test_replicates_of_the_default_are_no_new_default(study: Study) -> None:
    """They change what is believed of it, and its figures stay those of its own trial."""
    history = trials(study, 0.843)
    run = replace(replicate(9, history[0], 0.83), strategy=study.baseline)
    posterior = Posterior(study, [*history, run])
    assert posterior.default is history[0]
    before = Posterior(study, history).compare(history[5], "accuracy")
    after = posterior.compare(history[5], "accuracy")
    assert before is not None and after is not None
    assert after.value > before.value


def test_a_replicate_is_no_result(study: Study) -> None:
    history = trials(study, 0.845)
    repeated = [*history, replicate(9, history[5], 0.90)]
    assert 9 not in {trial.number for trial in pareto_front(study, repeated)}
    assert Snapshot(study, repeated).verdict_texts[9] == "replicate of trial 5"


def test_the_source_waits_for_a_running_replicate_and_ends_with_the_search(study: Study) -> None:
    history = trials(study, 0.843)
    proposal = SeedReplicates().next(make_turn(study, history))
    assert proposal is not None
    assert (proposal.origin, proposal.seed) == (TrialOrigin.REPLICATE, SEED_OFFSET)
    running = replace(replicate(9, history[5], 0.8), state=State.RUNNING, result=TrialResult())
    assert SeedReplicates().next(make_turn(study, [*history, running])) is None
    begun = replace(study, budget=Budget(trials=30))
    assert SeedReplicates().next(make_turn(begun, history)) is None
    ended = replace(study, budget=Budget(trials=9))
    assert SeedReplicates().next(make_turn(ended, history)) is None


def test_a_plan_fits_in_the_trials_that_are_left(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: set[int] = set()

    def choose(study: Study, history: Sequence[Trial], fits: Fits) -> None:
        lengths.update(runs for runs in (1, 2, 3) if fits(study.baseline, 10.0, runs))

    monkeypatch.setattr("autotune.tuner.sources.replicates.choose_replicate", choose)
    history = trials(study, 0.843)
    for left in (1, 2, 3):
        lengths.clear()
        budget = Budget(trials=len(history) + left)
        assert SeedReplicates().next(make_turn(replace(study, budget=budget), history)) is None
        assert lengths == set(range(1, left + 1))


def test_plans_of_several_runs_are_compared(study: Study) -> None:
    lengths = set[int]()

    def fits(strategy: Strategy, seconds: float, runs: int) -> bool:
        lengths.add(runs)
        return False

    assert choose_replicate(study, trials(study, 0.843), fits) is None
    assert max(lengths) > 1


def test_plans_end_with_the_last_replicate_of_a_strategy(study: Study) -> None:
    """After one of two, a plan of two more could not be carried out."""
    history = trials(study, 0.843)
    study = replace(study, constraints=(Constraint("accuracy", ">=", 0.84),))
    lengths: list[int] = []

    def fits(strategy: Strategy, seconds: float, runs: int) -> bool:
        lengths.append(runs)
        return False

    assert choose_replicate(study, history, fits) is None
    assert lengths == [1, 2]
    lengths.clear()
    assert choose_replicate(study, [*history, replicate(9, history[5], 0.843)], fits) is None
    assert lengths == [1]


def test_long_searches_plan_less_often(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replication, "__init__", lambda self, study, history: None)
    monkeypatch.setattr(Replication, "choose", lambda self, fits: study.baseline)
    history = [finished_trial(n, study.baseline) for n in range(1203)]
    plans = [n for n in (4, 5, 199, 200, 201, 202, 1199, 1200, 1201, 1202)
             if choose_replicate(study, history[: n + 1], always_fits)]  # fmt: skip
    assert plans == [4, 5, 199, 200, 202, 1199, 1200], "the first trial is the default"


def test_a_failed_replicate_is_not_repeated_and_an_interrupted_one_is(study: Study) -> None:
    history = trials(study, 0.843)
    run = replace(replicate(9, history[5], 0.8), result=TrialResult())
    failed = replace(run, state=State.FAILED, failure=FailureReason.CRASH)
    default = history[0].strategy, SEED_OFFSET
    assert choose_replicate(study, [*history, failed], always_fits) == default
    interrupted = replace(run, state=State.INTERRUPTED)
    expected = history[5].strategy, SEED_OFFSET
    assert choose_replicate(study, [*history, interrupted], always_fits) == expected
    lost = [replace(interrupted, number=9 + n) for n in range(ceil(MAX_RATIO * len(history)))]
    assert choose_replicate(study, [*history, *lost], always_fits) == expected, (
        "lost runs do not count"
    )


def test_the_sampler_averages_the_seeds_whatever_their_order(study: Study) -> None:
    history = trials(study, 0.843)
    repeated = [*history, *(replicate(9 + n, history[5], 0.83, n) for n in range(2))]
    key = group_key(history[5].strategy, phase_levers(Phase.TRAIN))
    for order in (repeated, repeated[::-1]):
        observations = Observations(study).update(order)
        observation = observations.groups[Phase.TRAIN][key]
        assert observation.values["accuracy"] == pytest.approx((0.843 + 2 * 0.83) / 3)
        assert (observation.runs, observation.number) == (3, 5)
        assert sorted(observations.complete) == list(range(9)), "replicates are no incumbents"


def test_a_resumed_search_models_replicates_as_the_running_one_did(study: Study) -> None:
    history = trials(study, 0.843)
    repeated = [*history, *(replicate(9 + n, history[5], 0.6, n) for n in range(2))]

    def expected(surrogates: Surrogates, observations: Observations) -> list[float]:
        groups = observations.by_number(Phase.TRAIN)
        surrogate = surrogates.fit(Phase.TRAIN, "accuracy", groups)
        assert surrogate is not None
        ids = surrogates.encoders[Phase.TRAIN].encode([trial.strategy for trial in history])
        zeros = np.zeros(len(history))
        samples: list[list[float]] = surrogate.sample(ids, np.array([1.0]), zeros).tolist()
        return [value for (value,) in samples]

    running, observations = Surrogates(study.space), Observations(study)
    before = expected(running, observations.update(history))
    after = expected(running, observations.update(repeated))
    resumed = expected(Surrogates(study.space), Observations(study).update(repeated))
    assert after == resumed != before


def test_the_front_of_the_sampler_has_the_mean_over_seeds(study: Study) -> None:
    """Number 4, slow and lucky, is on the front by its first run alone."""
    study = replace(study, constraints=())
    history = trials(study, 0.843)
    repeated = [*history, *(replicate(9 + n, history[4], 0.80, n) for n in range(2))]

    def parents(trials: Sequence[Trial]) -> Sequence[Strategy]:
        observations = Observations(study).update(trials)
        posterior = SamplerPosterior(observations, Surrogates(study.space), 32, 0)
        return AcquisitionScorer(study, posterior, history[0]).parents()

    assert parents(history)[1] == history[4].strategy, "after number 5, which is later"
    assert parents(repeated)[0] == history[5].strategy
    assert parents(repeated)[1] != history[4].strategy


def test_a_lucky_first_run_stops_no_other_trial(study: Study) -> None:
    history = trials(study, 0.87)
    repeated = [*history, *(replicate(9 + n, history[5], 0.81, n) for n in range(2))]
    point = CurvePoint(5, 100, 40, 0.5, 0.5, {"train_samples_per_second": 250.0})
    progress = TrialProgress.from_points(study.baseline.with_values(batch_size=32), [point], {})
    bound: ScoreUpperBound = lambda *_: 0.86  # noqa: E731
    reason = optimistic(study, progress, history, LearningCurves(), bound)
    assert reason is not None and reason.startswith("dominated by trial 5")
    assert optimistic(study, progress, repeated, LearningCurves(), bound) is None
    own = with_mean_scores(repeated)
    assert own[5].metric("accuracy") == pytest.approx((0.87 + 2 * 0.81) / 3)
    assert [t.metric("accuracy") for t in own[:5]] == [t.metric("accuracy") for t in history[:5]]
    assert own[9].metric("accuracy") == 0.81, "a replicate has its own"
