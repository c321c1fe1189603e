"""Several studies: one machine against another, a GPU against a CPU."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from autotune.analysis.recommendation_text import describe_best
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import believed_bests
from autotune.analysis.text import metric_label
from autotune.domain import State
from autotune.report.axes import Axis

from .. import live
from ..common import HIDE_TOOLBAR, NO_STUDY, now
from ..figures import compare_figure
from ..text import escape_markdown, test_score

MAX_STUDIES = 6


def page() -> None:
    st.title("Compare", anchor=False)
    names = list(live.store().studies())
    if not names:
        st.info(NO_STUDY)
        return
    current = st.session_state.get("study")
    preferred = [current] if current in names else []
    preselected = [*dict.fromkeys([*preferred, *reversed(names)])][:2]
    selected = st.multiselect(
        "Studies", names, preselected, key="with", bind="query-params", max_selections=MAX_STUDIES
    )
    if not selected:
        st.caption("Select one or more studies.")
        return
    snapshots = {name: live.live_study(name).refresh() for name in selected}
    _fronts(snapshots)
    _table(snapshots)


def _fronts(snapshots: Mapping[str, Snapshot]) -> None:
    metrics = list(dict.fromkeys(m for s in snapshots.values() for m in s.metrics))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        x = st.selectbox(
            "Across", metrics, key="cx", bind="query-params", format_func=metric_label, width=220
        )
        y = st.selectbox(
            "Up", metrics, min(1, len(metrics) - 1), key="cy", bind="query-params",
            format_func=metric_label, width=220,
        )  # fmt: skip
        relative = st.toggle(
            "Ratio to the default", key="crelative", bind="query-params",
            help="Divides by the default configuration of the same study, to compare the gains of "
            "tuning on different machines",
        )  # fmt: skip
    if not any(s.front for s in snapshots.values()):
        st.info("None of these studies has a feasible result yet.")
        return
    figure = compare_figure(snapshots, Axis(x), Axis(y), relative=relative)
    st.plotly_chart(figure, config=HIDE_TOOLBAR, alt="Fronts of the studies")
    st.caption("Open diamonds: the default configuration of each study.")
    tasks = {(s.study.task.model, str(s.study.task.dataset)) for s in snapshots.values()}
    if len(tasks) > 1:
        st.caption(
            ":material/warning: These studies differ in model or dataset. "
            "Their accuracies cannot be compared."
        )


def _table(snapshots: Mapping[str, Snapshot]) -> None:
    rows = [_row(name, snapshot) for name, snapshot in snapshots.items()]
    table = pd.DataFrame(rows).set_index("study").T.fillna("").astype(str)
    st.dataframe(table, height="content")
    st.caption(f"As of {escape_markdown(f'{now():%H:%M:%S}')} UTC.")


def _row(name: str, snapshot: Snapshot) -> dict[str, object]:
    row: dict[str, object] = {"study": name, **_hardware(name)}
    row["model"] = snapshot.study.task.model
    row["complete trials"] = sum(t.state is State.COMPLETE for t in snapshot.trials)
    row["on the front"] = len(snapshot.front)
    for best in believed_bests(snapshot.recommender):
        metric = best.objective.metric
        row[f"best {metric_label(metric)}"] = describe_best(best)
        if (score := test_score(snapshot.replicates, best.trial, metric)) is not None:
            row[f"the same, {metric_label(metric)} on test"] = score
    history = snapshot.hypervolume_history
    row["hypervolume"] = f"{history[-1].value:.3f}" if history else "unknown"
    return row


def _hardware(name: str) -> dict[str, object]:
    """CPU and accelerators in the recorded environment."""
    host = live.store().environment(name).get("hardware")
    if not isinstance(host, Mapping):
        return {"CPU": "unknown", "accelerators": "unknown"}
    devices = host.get("devices") or []
    names = [str(d.get("name")) for d in devices if isinstance(d, Mapping) and d.get("name")]
    return {"CPU": host.get("cpu") or "unknown", "accelerators": ", ".join(names) or "none"}
