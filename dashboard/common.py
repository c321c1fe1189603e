"""What all pages share: the study they are about, links, refreshes, the summary of a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps

import streamlit as st

from autotune.analysis.comparison_text import describe_factor
from autotune.analysis.intervals import figure_interval
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import count_by_state
from autotune.analysis.text import (
    format_interval,
    format_metric,
    metric_label,
)
from autotune.domain import State, Trial

from . import live
from .text import escape_markdown

LIVE_SECONDS = 2
IDLE_SECONDS = 10
HIDE_TOOLBAR = {"displayModeBar": False}
"""Configuration of plots without Plotly's toolbar."""

NO_STUDY = "There are no studies yet. Start one with `autotune search search_spaces/bert.yaml`."
NO_TRIAL = "No trial has started yet. The default configuration is measured first."

STATE_ICON = {
    State.COMPLETE: ":material/check_circle:",
    State.RUNNING: ":material/play_circle:",
    State.QUEUED: ":material/schedule:",
    State.PRUNED: ":material/content_cut:",
    State.INFEASIBLE: ":material/block:",
    State.FAILED: ":material/error:",
    State.INTERRUPTED: ":material/pause_circle:",
}

StudyPage = Callable[[live.LiveStudy, Snapshot], None]
Page = Callable[[], None]


def now() -> datetime:
    return datetime.now(UTC)


def study_page(title: str, no_trial: str = NO_TRIAL) -> Callable[[StudyPage], Page]:
    """Make a page of a function that draws a study: with a heading, a selection of the study, and
    a refresh when the study changes. Shows ``no_trial`` while the study has no trial."""

    def decorate(draw: StudyPage) -> Page:
        @wraps(draw)
        def page() -> None:
            names = list(live.store().studies())
            left, right = st.columns([3, 2], vertical_alignment="bottom")
            left.title(title, anchor=False)
            if not names:
                st.info(NO_STUDY)
                return
            study = live.live_study(_selected_study(names, right))
            snapshot = study.refresh()
            is_live = live.is_live(count_by_state(snapshot.trials))
            auto_refresh(lambda: study.refresh() is not snapshot, refresh_interval(is_live))
            if snapshot.trials:
                draw(study, snapshot)
            else:
                st.info(no_trial)

        return page

    return decorate


def _selected_study(names: list[str], container: st.delta_generator.DeltaGenerator) -> str:
    """The study in the URL, else the last one shown, else the newest. The URL then names it."""
    requested = st.query_params.get("study")
    if requested is not None and requested not in names:
        name = escape_markdown(requested)
        st.warning(f"There is no study {name} here.", icon=":material/search_off:")
    candidates = (requested, st.session_state.get("study"), names[-1])
    preselected = next(name for name in candidates if name in names)
    selected: str = container.selectbox("Study", names, names.index(preselected))
    if selected != requested:
        st.query_params["study"] = selected
    st.session_state["study"] = selected
    return selected


def refresh_interval(is_live: bool) -> float:
    """Seconds between two checks for changes."""
    return LIVE_SECONDS if is_live else IDLE_SECONDS


def auto_refresh(has_changed: Callable[[], bool], seconds: float) -> None:
    """Draw the page again when ``has_changed`` returns true, which is checked every ``seconds``."""
    is_first = True

    def check() -> None:
        nonlocal is_first
        if is_first:  # this call is part of drawing the page
            is_first = False
        elif has_changed():
            st.rerun()

    st.fragment(check, run_every=seconds)()


def remember_pages(pages: Mapping[str, st.Page]) -> None:
    """Store the pages, for :func:`link`."""
    st.session_state["_pages"] = dict(pages)


def link(page: str, label: str, *, icon: str | None = None, **params: object) -> None:
    """Draw a link to another page, about the current study unless ``params`` name another."""
    params = {"study": st.session_state.get("study"), **params}
    query = {name: str(value) for name, value in params.items() if value is not None}
    st.page_link(st.session_state["_pages"][page], label=label, icon=icon, query_params=query)


def objective_metrics(snapshot: Snapshot, trial: Trial) -> None:
    """Draw the objectives of a trial, each with what is believed of its strategy against the
    default; scores of a confirmed strategy also on the test split."""
    names = snapshot.study.reported_metrics
    measured = [name for name in names if trial.metric(name) is not None]
    if not measured:
        return
    is_baseline = snapshot.baseline is not None and trial.number == snapshot.baseline.number
    with st.container(horizontal=True):
        for name in measured:
            value = trial.metric(name)
            comparison = None
            if not is_baseline:
                comparison = snapshot.posterior.compare(trial, name)
            st.metric(
                metric_label(name),
                format_metric(name, value),
                f"{describe_factor(comparison)} against the default" if comparison else None,
                delta_color="off",
                delta_arrow="off",
                width="content",
                help=_own_interval(trial, name),
            )
            estimate = snapshot.replicates.test_estimate(trial, name)
            if estimate is not None:
                runs = f"{estimate.runs} run{'s' * (estimate.runs > 1)}"
                interval = format_interval(name, estimate.ci95)
                st.metric(
                    f"{metric_label(name)} on test",
                    format_metric(name, estimate.value),
                    f"{interval}, {runs}" if interval else runs,
                    delta_color="off",
                    delta_arrow="off",
                    width="content",
                )


def _own_interval(trial: Trial, metric: str) -> str:
    """The interval of a figure within its run, or why it has none, as Markdown."""
    interval = figure_interval(trial, metric)
    if interval.ci95 is None:
        return escape_markdown(f"no interval: {interval.reason}")
    ends = format_interval(metric, interval.ci95)
    return escape_markdown(f"as measured; 95% interval within this run: {ends}")


def state_line(snapshot: Snapshot, trial: Trial) -> None:
    """Draw the state, verdict and reason of a trial in one line, and its violations."""
    verdict = snapshot.verdict_texts[trial.number] if trial.state is State.COMPLETE else ""
    parts = [f"{STATE_ICON[trial.state]} **{trial.state.value}**", escape_markdown(verdict)]
    goals = [g for g, r in snapshot.recommendations.items() if r.trial.number == trial.number]
    if goals:
        parts.append(f"recommended: {', '.join(goals)}")
    runs = len(snapshot.replicates.confirmations(trial))
    if runs:
        parts.append(f"confirmed by {runs} run{'s' * (runs > 1)}")
    if (probability := front_probability(snapshot, trial)) is not None:
        parts.append(probability)
    if trial.reason:
        parts.append(escape_markdown(trial.reason))
    st.markdown(" · ".join(part for part in parts if part))
    for violation in snapshot.violations.get(trial.number, ()):
        st.caption(f":material/block: {escape_markdown(violation)}")


def front_probability(snapshot: Snapshot, trial: Trial) -> str | None:
    """The probability that a trial of the front belongs there, in words."""
    probability = snapshot.front_probabilities.get(trial.number)
    if probability is None:
        return None
    return f"{probability:.0%} probability to be on the front given the noise of all measurements"


def is_complete_result(trial: Trial) -> bool:
    """Whether ``trial`` can be compared with the default and exported: confirmation runs and
    trials that ended early cannot."""
    return trial.state is State.COMPLETE and trial.is_result


def sentence(snapshot: Snapshot, trial: Trial) -> str:
    """The comparison of a trial with the default, with intervals, as Markdown."""
    return escape_markdown(snapshot.describe(trial))
