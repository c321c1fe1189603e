"""What all pages share: the study they are about, links, live updates, a trial's summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import streamlit as st

from autotune.analysis import text
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric, format_ratio_to_default, metric_label
from autotune.domain import State, Trial

from . import live
from .text import escape_markdown

LIVE_SECONDS = 2
IDLE_SECONDS = 10
STATE_ICON = {
    State.COMPLETE: ":material/check_circle:",
    State.RUNNING: ":material/play_circle:",
    State.QUEUED: ":material/schedule:",
    State.PRUNED: ":material/content_cut:",
    State.INFEASIBLE: ":material/block:",
    State.FAILED: ":material/error:",
    State.INTERRUPTED: ":material/pause_circle:",
}


def now() -> datetime:
    return datetime.now(UTC)


def study_page(title: str) -> tuple[live.LiveStudy, Snapshot] | None:
    """The heading of a page about one study, with its picker; ``None`` where there is no study."""
    names = list(live.store().studies())
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(title, anchor=False)
    if not names:
        st.info("No study here yet. Start one with `autotune search search_spaces/bert.yaml`.")
        return None
    source = live.feed(_picked(names, right))
    snapshot = source.refresh()
    auto_refresh(lambda: source.refresh() is not snapshot, refresh_interval(live.live(snapshot)))
    return source, snapshot


def _picked(names: list[str], place: st.delta_generator.DeltaGenerator) -> str:
    """The study in the URL, else the one last looked at, else the newest; kept in the URL."""
    asked = st.query_params.get("study")
    if asked is not None and asked not in names:
        st.warning(
            f"There is no study {escape_markdown(asked)} here.", icon=":material/search_off:"
        )
    known = [name for name in (asked, st.session_state.get("study"), names[-1]) if name in names]
    picked: str = place.selectbox("Study", names, names.index(known[0]))
    if picked != asked:
        st.query_params["study"] = picked
    st.session_state["study"] = picked
    return picked


def refresh_interval(busy: bool) -> float:
    """Seconds between two looks for news."""
    return LIVE_SECONDS if busy else IDLE_SECONDS


def auto_refresh(has_news: Callable[[], bool], seconds: float) -> None:
    """Draw the page again once there is news; the first time is the drawing itself."""
    first = [True]

    def pulse() -> None:
        if first:
            first.clear()
        elif has_news():
            st.rerun()

    st.fragment(pulse, run_every=seconds)()


def remember_pages(pages: Mapping[str, st.Page]) -> None:
    st.session_state["_pages"] = dict(pages)


def link(page: str, text: str, *, icon: str | None = None, **params: object) -> None:
    """A link to another page, about this study unless said otherwise."""
    params = {"study": st.session_state.get("study"), **params}
    known = {name: str(value) for name, value in params.items() if value is not None}
    st.page_link(st.session_state["_pages"][page], label=text, icon=icon, query_params=known)


def figures(snapshot: Snapshot, trial: Trial) -> None:
    """A trial's objectives as big figures, each against the default."""
    known = [o for o in snapshot.study.objectives if trial.metric(o.metric) is not None]
    if not known:
        return
    own = None if snapshot.baseline is None else snapshot.baseline.number
    with st.container(horizontal=True):
        for objective in known:
            value = trial.metric(objective.metric)
            default = None if trial.number == own else snapshot.baseline
            ratio = format_ratio_to_default(objective.metric, value, default)
            st.metric(
                metric_label(objective.metric),
                format_metric(objective.metric, value),
                f"{ratio} the default" if ratio else None,
                delta_color="off",
                delta_arrow="off",
                width="content",
            )


def state_line(snapshot: Snapshot, trial: Trial) -> None:
    """State, verdict and reason of a trial in one line."""
    verdict = snapshot.verdicts[trial.number].value if trial.state is State.COMPLETE else ""
    parts = [f"{STATE_ICON[trial.state]} **{trial.state.value}**", escape_markdown(verdict)]
    runs = len(snapshot.replicates.confirmations(trial))
    if runs:
        parts.append(f"confirmed by {runs} run{'s' * (runs > 1)}")
    if (chance := snapshot.front_probabilities.get(trial.number)) is not None:
        parts.append(f"{chance:.0%} sure to be on the front given the noise")
    if trial.reason:
        parts.append(escape_markdown(trial.reason))
    st.markdown(" · ".join(part for part in parts if part))
    for broken in snapshot.violations.get(trial.number, ()):
        st.caption(f":material/block: {escape_markdown(broken)}")


def sentence(snapshot: Snapshot, trial: Trial) -> str:
    metrics = [objective.metric for objective in snapshot.study.objectives]
    return escape_markdown(text.comparison_sentence(trial, snapshot.baseline, metrics))
