"""Choosing one trial by a short query: a number, a word, or ``accuracy >= 0.9 then cheapest``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from autotune.analysis.filters import filter_by_condition
from autotune.analysis.front import feasible_trials, knee, pareto_optimal, value_of
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import METRICS
from autotune.errors import NotFoundError, UsageError

PICKS: Mapping[str, tuple[str, ...]] = {
    "fastest": (
        "train_samples_per_second",
        "relative_speed",
        "train_seconds",
        "inference_samples_per_second",
        "inference_latency_ms",
    ),
    "most-accurate": ("accuracy", "f1", "mcc", "loss"),
    "cheapest": ("cost_usd", "inference_usd_per_million", "energy_wh"),
}
"""What each word looks at: the first of these that is an objective, else that was measured."""

QUERY_FORMS = (
    "a trial number, knee, fastest, most-accurate, cheapest, or 'accuracy >= 0.9 then cheapest'"
)


def select_trial(study: Study, trials: Sequence[Trial], query: str) -> Trial:
    """The trial that ``query`` names.

    Words choose among the feasible trials; of equals, the one on the front with the lowest number.
    Raises :class:`UsageError` where the query cannot be read and :class:`NotFoundError` where no
    trial fits it.
    """
    text = query.strip()
    if text.lstrip("-").isdigit():
        return _numbered(study, trials, int(text))
    condition, _, word = text.rpartition(" then ")
    word = word.strip()
    if word != "knee" and word not in PICKS:
        raise UsageError(f"cannot choose a trial by '{query}'", hint=_valid(word))
    members = feasible_trials(study, trials)
    if not members:
        raise NotFoundError(
            f"no trial of study {study.name} is complete and within its constraints",
            hint=f"autotune trials {study.name} lists what became of each",
        )
    if condition:
        members = _satisfying(study, members, condition)
    return _pick(study, members, word)


def _numbered(study: Study, trials: Sequence[Trial], number: int) -> Trial:
    trial = next((t for t in trials if t.number == number), None)
    if trial is None:
        raise NotFoundError(
            f"study {study.name} has no trial {number}",
            hint=f"its {len(trials)} trials are listed by: autotune trials {study.name}",
        )
    if trial.state is not State.COMPLETE:
        why = f": {trial.reason}" if trial.reason else ""
        raise UsageError(
            f"trial {number} of study {study.name} is {trial.state.value}{why}",
            hint=f"choose a complete one: {QUERY_FORMS}",
        )
    return trial


def _valid(word: str) -> str:
    close = get_close_matches(word, ["knee", *PICKS], 1)
    return f"did you mean {close[0]}? Valid: {QUERY_FORMS}" if close else f"valid: {QUERY_FORMS}"


def _satisfying(study: Study, members: Sequence[Trial], condition: str) -> list[Trial]:
    found = filter_by_condition(study, members, condition)
    if not found:
        raise NotFoundError(
            f"no feasible trial of study {study.name} satisfies {condition}",
            hint=f"loosen the condition; autotune pareto {study.name} shows what there is",
        )
    return found


def _pick(study: Study, members: Sequence[Trial], word: str) -> Trial:
    front = pareto_optimal(study, members)
    if word == "knee":
        chosen = knee(study, front)
        assert chosen is not None
        return chosen
    metric = _metric(study, members, word)
    sign = 1.0 if METRICS[metric].direction == "maximize" else -1.0
    on_front = {trial.number for trial in front}
    return max(
        (trial for trial in members if value_of(trial, metric) is not None),
        key=lambda t: (sign * (t.metric(metric) or 0.0), t.number in on_front, -t.number),
    )


def _metric(study: Study, members: Sequence[Trial], word: str) -> str:
    objectives = {objective.metric for objective in study.objectives}
    measured = {name for trial in members for name in trial.metrics}
    for offered in (objectives & measured, measured):
        for metric in PICKS[word]:
            if metric in offered:
                return metric
    raise NotFoundError(
        f"study {study.name} measured none of {', '.join(PICKS[word])}, so none is '{word}'",
        hint="choose by a trial number or knee",
    )
