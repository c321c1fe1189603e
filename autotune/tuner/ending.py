"""Why a search ended, in words: what ended it, and what of the budget was used and left."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.analysis.budget import busy_seconds
from autotune.domain import State, TrialOrigin
from autotune.tuner.turn import Turn

SPACE_TRIED = "every strategy of the space has been tried"


def describe_end(turn: Turn, session_end: str | None) -> str:
    """``searched 9.8 of 15 minutes, 5 kept to confirm; 3 confirmation runs took 3.9 minutes; left:
    1.3 of 15 minutes``. ``session_end`` is the reason why the session tried no new strategies, if
    it was noted before the confirmations."""
    return "; ".join(_parts(turn, session_end))


def _parts(turn: Turn, session_end: str | None) -> Iterator[str]:
    runs = [t for t in turn.history if t.is_confirmation and t.state is State.COMPLETE]
    if runs:
        yield session_end or turn.search_end or turn.budget_end or SPACE_TRIED
        minutes = busy_seconds(runs) / 60
        yield f"{len(runs)} confirmation run{'s' * (len(runs) > 1)} took {minutes:.1f} minutes"
        yield from _unused(turn)
        return
    reason = turn.budget_end or turn.search_end or session_end or SPACE_TRIED
    yield _default_alone(turn) or reason
    if turn.study.confirm is None:
        return
    if turn.budget_end is not None:
        yield "nothing was confirmed"
        return
    is_tried = any(trial.is_confirmation for trial in turn.history)
    yield "no confirmation run completed" if is_tried else "there was nothing to confirm"
    yield from _unused(turn)


def _default_alone(turn: Turn) -> str | None:
    """That the default took all the time, if it did."""
    minutes = turn.study.budget.minutes
    own = [trial for trial in turn.history if not trial.is_imported]
    if minutes is None or turn.budget_end is None:
        return None
    if any(trial.origin is not TrialOrigin.DEFAULT for trial in own):
        return None
    used = turn.usage.seconds / 60
    name = turn.study.baseline_name
    return f"{name} alone took {used:.1f} of {minutes:g} minutes, so nothing else was tried"


def _unused(turn: Turn) -> Iterator[str]:
    """The trials and minutes that are left, if any."""
    budget, usage, parts = turn.study.budget, turn.usage, []
    if budget.trials is not None and (trials := budget.trials - usage.trials) > 0:
        parts.append(f"{trials} of {budget.trials} trials")
    if budget.minutes is not None and (minutes := budget.minutes - usage.seconds / 60) >= 0.05:
        parts.append(f"{minutes:.1f} of {budget.minutes:g} minutes")
    if parts:
        yield f"left: {', '.join(parts)}"
