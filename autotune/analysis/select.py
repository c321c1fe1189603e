"""Selects one trial by a query: a number, a word, or ``accuracy >= 0.9 then cheapest``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from autotune.analysis.filters import filter_by_condition
from autotune.analysis.front import feasible_trials, knee, pareto_optimal, value_of
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import METRICS, Pick, select_metrics
from autotune.domain.text import closest, parse_trial_number, shorten
from autotune.errors import NotFoundError, UsageError

PICKS: tuple[str, ...] = get_args(Pick)
"""Words that choose by the best value of a metric."""

QUERY_FORMS = f"a trial number, knee, {', '.join(PICKS)}, or 'accuracy >= 0.9 then cheapest'"


def select_trial(study: Study, trials: Sequence[Trial], query: str) -> Trial:
    """The trial that ``query`` names.

    Words choose among the feasible trials; of equal trials, one on the front, then the one with the
    lowest number. Raises :class:`UsageError` if the query is malformed and :class:`NotFoundError`
    if no trial matches.
    """
    text = query.strip()
    if text.removeprefix("-").isdigit():
        return _select_number(study, trials, text)
    condition, _, word = text.rpartition(" then ")
    word = word.strip()
    if word != "knee" and word not in PICKS:
        raise UsageError(f"cannot choose a trial by '{shorten(query)}'", hint=_valid_forms(word))
    members = feasible_trials(study, trials)
    if not members:
        raise NotFoundError(
            f"no trial of study {study.name} is complete and satisfies the constraints",
            hint=f"list all trials: autotune trials {study.name}",
        )
    if condition:
        members = _satisfying(study, members, condition)
    return _select_word(study, members, word)


def _select_number(study: Study, trials: Sequence[Trial], text: str) -> Trial:
    number = parse_trial_number(text)
    trial = next((t for t in trials if t.number == number), None)
    if trial is None:
        raise NotFoundError(
            f"study {study.name} has no trial {shorten(text)}",
            hint=f"list its {len(trials)} trials: autotune trials {study.name}",
        )
    if trial.state is not State.COMPLETE:
        reason = f": {trial.reason}" if trial.reason else ""
        raise UsageError(
            f"trial {number} of study {study.name} is {trial.state.value}{reason}",
            hint=f"choose a complete trial: {QUERY_FORMS}",
        )
    return trial


def _valid_forms(word: str) -> str:
    match = closest(word, ["knee", *PICKS])
    return f"did you mean {match}? Valid: {QUERY_FORMS}" if match else f"valid: {QUERY_FORMS}"


def _satisfying(study: Study, members: Sequence[Trial], condition: str) -> list[Trial]:
    matches = filter_by_condition(study, members, condition)
    if not matches:
        raise NotFoundError(
            f"no feasible trial of study {study.name} satisfies {condition}",
            hint=f"relax the condition; show the front: autotune pareto {study.name}",
        )
    return matches


def _select_word(study: Study, members: Sequence[Trial], word: str) -> Trial:
    front = pareto_optimal(study, members)
    if word == "knee":
        trial = knee(study, front)
        assert trial is not None
        return trial
    metric = _pick_metric(study, members, word)
    sign = 1.0 if METRICS[metric].direction == "maximize" else -1.0
    front_numbers = {trial.number for trial in front}
    return max(
        (trial for trial in members if value_of(trial, metric) is not None),
        key=lambda t: (sign * (t.metric(metric) or 0.0), t.number in front_numbers, -t.number),
    )


def _pick_metric(study: Study, members: Sequence[Trial], word: str) -> str:
    """The first metric of ``word`` that is a measured objective, else the first measured one."""
    names = select_metrics(lambda metric: metric.pick == word)
    objectives = {objective.metric for objective in study.objectives}
    measured = {name for trial in members for name in trial.metrics}
    for available in (objectives & measured, measured):
        for name in names:
            if name in available:
                return name
    raise NotFoundError(
        f"study {study.name} measured none of {', '.join(names)}, which '{word}' needs",
        hint="choose by a trial number or knee",
    )
