"""What every sampler must do. A subclass provides the fixture ``make``, which creates a sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from autotune.domain import FailureReason, Infeasible, State, Strategy, Study, Trial
from autotune.domain.search_space import contains, excluded, is_active
from autotune.ports import Sampler
from tests.tuner.small_study import finished_trial

MakeSampler = Callable[[Study], Sampler]


def search(sampler: Sampler, study: Study, trials: int) -> list[Trial]:
    """The history of a search: the default, then what the sampler proposes."""
    history = [finished_trial(0, study.baseline)]
    while len(history) < trials:
        strategy = sampler.ask(history)
        if strategy is None:
            break
        history.append(finished_trial(len(history), strategy))
    return history


class SamplerContract:
    def test_proposes_strategies_of_the_space(self, make: MakeSampler, study: Study) -> None:
        for trial in search(make(study), study, 25)[1:]:
            assert excluded(study.space, trial.strategy) is None
            for dimension in study.space.dimensions:
                value = trial.strategy[dimension.lever]
                if is_active(study.space, dimension, trial.strategy.values):
                    assert contains(dimension.domain, value)
                else:
                    assert value == study.space.defaults[dimension.lever]

    def test_proposes_no_strategy_twice(self, make: MakeSampler, study: Study) -> None:
        keys = [trial.strategy.key for trial in search(make(study), study, 40)]
        assert len(keys) == len(set(keys)) == 40

    def test_a_new_sampler_proposes_the_same(self, make: MakeSampler, study: Study) -> None:
        history = search(make(study), study, 20)
        for number in (1, 7, 19):
            assert make(study).ask(history[:number]) == history[number].strategy

    def test_running_trials_are_not_proposed(self, make: MakeSampler, study: Study) -> None:
        """A running strategy is not proposed again, and the sampler learns from its outcome."""
        history = search(make(study), study, 12)
        sampler = make(study)
        running = replace(history[-1], state=State.RUNNING, finished_at=None)
        first = sampler.ask([*history[:-1], running])
        assert first is not None
        assert first.key not in {trial.strategy.key for trial in history}
        assert sampler.ask(history) == make(study).ask(history)

    def test_every_state_of_a_trial_is_accepted(self, make: MakeSampler, study: Study) -> None:
        history = search(make(study), study, 8)
        states = [State.INFEASIBLE, State.FAILED, State.PRUNED, State.INTERRUPTED]
        for index, state in enumerate(states, start=1):
            history[index] = replace(history[index], state=state, failure=FailureReason.ERROR)
        outcome = Infeasible(FailureReason.OUT_OF_MEMORY, "too large")
        finished_at = history[5].finished_at
        assert finished_at is not None
        history[5] = history[5].finish(outcome, finished_at)
        assert isinstance(make(study).ask(history), Strategy)

    def test_an_exhausted_space_ends_the_search(self, make: MakeSampler, study: Study) -> None:
        dimensions = [d for d in study.space.dimensions if d.lever in ("threads", "batch_size")]
        tiny = replace(study, space=replace(study.space, dimensions=tuple(dimensions)))
        history = search(make(tiny), tiny, 100)
        assert len(history) == 6, "2 x 3 strategies, including the default"
        assert make(tiny).ask(history) is None

    def test_the_seed_changes_the_proposals(self, make: MakeSampler, study: Study) -> None:
        other = replace(study, sampler=replace(study.sampler, seed=8))
        one, two = search(make(study), study, 12), search(make(other), other, 12)
        assert [t.strategy for t in one] != [t.strategy for t in two]
