"""The finalists of a search: the strategies to confirm, best first.

They are ranked by what is believed after all trials of the search
(:class:`~autotune.analysis.recommendation.Recommender`), not by the luckiest run, so that what is
confirmed is what would be recommended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autotune.analysis.front import find_baseline, pareto_front
from autotune.analysis.hypervolume import exclusive_hypervolumes
from autotune.analysis.recommendation import Recommender
from autotune.domain import State, Strategy, Study, Trial
from autotune.errors import NotFoundError
from autotune.levers import deployment_key, training_key


def finalists(study: Study, trials: Sequence[Trial], count: int) -> list[Trial]:
    """The first ``count`` trials to confirm: the knee, then the members of the front by the
    hypervolume that they are believed to add, then the next fronts, of each the first of a model
    before others, whose scores would be the same; at last the strategies that satisfy the
    constraints with too low a probability, the likeliest first."""
    recommender = Recommender(study, [trial for trial in trials if not trial.is_confirmation])
    model_key = deployment_key if study.deploys else training_key
    remaining = _first_of_each(recommender.acceptable, lambda strategy: strategy.key)
    acceptable = {trial.strategy.key for trial in remaining}
    reference = [_believed(recommender, trial) for trial in complete_default(study, trials)]
    ranked: list[Trial] = []
    while remaining and len(_first_of_each(ranked, model_key)) < count:
        front = recommender.front_of(remaining)
        knee = recommender.choose("knee", front)
        believed = [_believed(recommender, trial) for trial in front]
        volumes = exclusive_hypervolumes(study, reference, believed)
        ranked += sorted(
            front,
            key=lambda t: (t.number != knee.number, -volumes.get(t.number, 0.0), t.number),
        )
        numbers = {trial.number for trial in front}
        remaining = [trial for trial in remaining if trial.number not in numbers]
    firsts = _first_of_each(ranked, model_key)
    others = [trial for trial in ranked if trial not in firsts]
    doubtful = _first_of_each(
        [trial for trial in recommender.candidates if trial.strategy.key not in acceptable],
        lambda strategy: strategy.key,
    )
    doubtful.sort(key=lambda trial: (-recommender.probability(trial), trial.number))
    return [*firsts, *others, *doubtful][:count]


def _believed(recommender: Recommender, trial: Trial) -> Trial:
    """``trial`` with the posterior means of the objectives in place of its measurements."""
    measurements = dict(trial.result.measurements)
    for objective in recommender.study.objectives:
        mean = recommender.posterior.mean(trial, objective.metric)
        if mean is not None:
            measurement = measurements[objective.metric]
            measurements[objective.metric] = replace(measurement, value=mean)
    return replace(trial, result=replace(trial.result, measurements=measurements))


def expected_finalists(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """The default and the members of the measured front, from whose runs the time of confirmations
    is estimated during the search; of the front without constraints if no trial satisfies them as
    measured, since those that come closest are confirmed too. Empty while there is nothing but the
    default to confirm."""
    for members in (study, replace(study, constraints=())):
        front = [
            trial for trial in pareto_front(members, trials) if trial.strategy != study.baseline
        ]
        if front:
            return [*complete_default(study, trials), *front]
    return []


def complete_default(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """The trial of the default, if it has a result."""
    default = find_baseline(study, trials)
    return [] if default is None or default.state is not State.COMPLETE else [default]


def recommended_trial(recommender: Recommender) -> Trial | None:
    """The knee of a study; ``None`` if there is none or it is the default."""
    try:
        trial = recommender.recommend("knee").trial
    except NotFoundError:
        return None
    return None if trial.strategy == recommender.study.baseline else trial


def _first_of_each(trials: Sequence[Trial], key: Callable[[Strategy], str]) -> list[Trial]:
    """The first trial of each key of strategies, in order."""
    firsts: dict[str, Trial] = {}
    for trial in trials:
        firsts.setdefault(key(trial.strategy), trial)
    return list(firsts.values())
