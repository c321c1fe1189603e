"""What every sampler must do. A subclass gives the ``sampler`` fixture: a fresh one a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from autotune.domain import FailureReason, Infeasible, State, Strategy, Study, Trial
from autotune.domain.search_space import contains, excluded, is_active
from autotune.ports import Sampler
from tests.search.small_study import finished_trial

MakeSampler = Callable[[Study], Sampler]


def search(sampler: Sampler, study: Study, trials: int) -> list[Trial]:
    """A history grown by asking: the default first."""
    history = [finished_trial(0, study.baseline)]
    while len(history) < trials:
        strategy = sampler.ask(history)
        if strategy is None:
            break
        history.append(finished_trial(len(history), strategy))
    return history


class SamplerContract:
    def test_proposes_inside_the_space(self, make: MakeSampler, study: Study) -> None:
        for trial in search(make(study), study, 25)[1:]:
            assert excluded(study.space, trial.strategy) is None
            for dimension in study.space.dimensions:
                value = trial.strategy[dimension.lever]
                if is_active(study.space, dimension, trial.strategy.values):
                    assert contains(dimension.domain, value)
                else:
                    assert value == study.space.defaults[dimension.lever]

    def test_never_proposes_what_was_tried(self, make: MakeSampler, study: Study) -> None:
        keys = [trial.strategy.key for trial in search(make(study), study, 40)]
        assert len(keys) == len(set(keys)) == 40

    def test_a_fresh_sampler_goes_on_alike(self, make: MakeSampler, study: Study) -> None:
        history = search(make(study), study, 20)
        for cut in (1, 7, 19):
            assert make(study).ask(history[:cut]) == history[cut].strategy

    def test_running_trials_do_not_disturb(self, make: MakeSampler, study: Study) -> None:
        """A running strategy is not proposed again, and the sampler learns from its outcome."""
        history = search(make(study), study, 12)
        sampler = make(study)
        running = replace(history[-1], state=State.RUNNING, finished_at=None)
        first = sampler.ask([*history[:-1], running])
        assert first is not None
        assert first.key not in {trial.strategy.key for trial in history}
        assert sampler.ask(history) == make(study).ask(history)

    def test_all_ways_to_end_are_understood(self, make: MakeSampler, study: Study) -> None:
        history = search(make(study), study, 8)
        ends = [State.INFEASIBLE, State.FAILED, State.PRUNED, State.INTERRUPTED]
        for place, state in enumerate(ends, start=1):
            history[place] = replace(history[place], state=state, failure=FailureReason.ERROR)
        outcome = Infeasible(FailureReason.OUT_OF_MEMORY, "too large")
        at = history[5].finished_at
        assert at is not None
        history[5] = history[5].finish(outcome, at)
        assert isinstance(make(study).ask(history), Strategy)

    def test_an_exhausted_space_ends_the_search(self, make: MakeSampler, study: Study) -> None:
        few = [d for d in study.space.dimensions if d.lever in ("threads", "batch_size")]
        tiny = replace(study, space=replace(study.space, dimensions=tuple(few)))
        history = search(make(tiny), tiny, 100)
        assert len(history) == 6, "2 x 3 strategies, the default among them"
        assert make(tiny).ask(history) is None

    def test_the_seed_matters(self, make: MakeSampler, study: Study) -> None:
        other = replace(study, sampler=replace(study.sampler, seed=8))
        one, two = search(make(study), study, 12), search(make(other), other, 12)
        assert [t.strategy for t in one] != [t.strategy for t in two]
