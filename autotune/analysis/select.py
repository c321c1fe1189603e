"""Selects one trial by a query: a number, a word, or ``accuracy >= 0.9 then cheapest``."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.analysis.recommendation import PICKS, Recommender
from autotune.domain import State, Study, Trial
from autotune.domain.text import closest, parse_trial_number, shorten
from autotune.errors import ExpressionError, NotFoundError, UsageError

QUERY_FORMS = f"a trial number, knee, {', '.join(PICKS)}, or 'accuracy >= 0.9 then cheapest'"


def select_trial(study: Study, trials: Sequence[Trial], query: str) -> Trial:
    """The trial that ``query`` names.

    Words choose among the trials that can be recommended
    (:mod:`autotune.analysis.recommendation`). Raises :class:`UsageError` if the query is malformed
    and :class:`NotFoundError` if no trial matches.
    """
    text = query.strip()
    if _is_number(text):
        return _require_complete(study, _find_number(study, trials, text))
    condition, _, word = text.rpartition(" then ")
    word = word.strip()
    if word != "knee" and word not in PICKS:
        message = f"cannot choose a trial by '{shorten(query)}'"
        raise ExpressionError(message, hint=_valid_forms(word))
    recommender = Recommender(study, trials)
    if condition:
        return recommender.choose(word, recommender.satisfying(condition))
    return recommender.recommend(word).trial


def find_trial_number(study: Study, trials: Sequence[Trial], query: str) -> int:
    """The number of the trial that ``query`` names, in whatever state if it is a number."""
    text = query.strip()
    if _is_number(text):
        return _find_number(study, trials, text).number
    return select_trial(study, trials, text).number


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _find_number(study: Study, trials: Sequence[Trial], text: str) -> Trial:
    number = parse_trial_number(text)
    trial = next((t for t in trials if t.number == number), None)
    if trial is None:
        raise NotFoundError(
            f"study {study.name} has no trial {shorten(text)}",
            hint=f"list its {len(trials)} trials: autotune trials {study.name}",
        )
    return trial


def _require_complete(study: Study, trial: Trial) -> Trial:
    if trial.state is not State.COMPLETE:
        reason = f": {trial.reason}" if trial.reason else ""
        raise UsageError(
            f"trial {trial.number} of study {study.name} is {trial.state.value}{reason}",
            hint=f"choose a complete trial: {QUERY_FORMS}",
        )
    return trial


def _valid_forms(word: str) -> str:
    match = closest(word, ["knee", *PICKS])
    return f"did you mean {match}? Valid: {QUERY_FORMS}" if match else f"valid: {QUERY_FORMS}"
