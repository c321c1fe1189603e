"""One trial: what it set, what it measured and how, what happened while it ran."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import (
    format_interval,
    format_metric,
    format_ratio_to_default,
    metric_label,
)
from autotune.analysis.text import format_value as setting
from autotune.analysis.timeline import prediction_checks
from autotune.domain import Measurement, State, Trial

from .. import live
from ..common import LIVE_SECONDS, figures, link, sentence, state_line, study_page
from ..figures import curve_figure, memory_figure, samples_figure
from ..text import escape_markdown

LOG_LINES = 200
STILL = {"displayModeBar": False}


def page() -> None:
    opened = study_page("Trial")
    if opened is None:
        return
    source, snapshot = opened
    if not snapshot.trials:
        st.info("Nothing has run yet. The default configuration is measured first.")
        return
    number = _picked(snapshot)
    if number not in snapshot.by_number:
        st.warning(f"This study has trials 0 to {snapshot.trials[-1].number}.")
        return
    trial = source.trial(number)
    _head(snapshot, trial)
    if trial.state is State.RUNNING:
        _progress(source, number)
    for section in (_again, _strategy, _measurements, _pictures, _predictions, _record):
        section(snapshot, trial)


def _picked(snapshot: Snapshot) -> int:
    asked = st.query_params.get("trial")
    if "trial" not in st.session_state and asked is None:
        best = snapshot.knee or snapshot.trials[0]
        st.session_state["trial"] = best.number
    number = st.number_input(
        "Trial", 0, None, None, step=1, key="trial", bind="query-params",
        persist_state="session", width=160,
    )  # fmt: skip
    return -1 if number is None else int(number)


def _head(snapshot: Snapshot, trial: Trial) -> None:
    state_line(snapshot, trial)
    if trial.result.measurements and snapshot.baseline is not None:
        st.markdown(f"{sentence(snapshot, trial).capitalize()}.")
    figures(snapshot, trial)
    if trial.result.measurements:
        link("export", "Export this trial", icon=":material/ios_share:", choice=trial.number)


def _progress(source: live.LiveStudy, number: int) -> None:
    def draw() -> None:
        point = source.progress().get(number)
        if point is None:
            st.progress(0.0, "Preparing")
            return
        loss = "" if point.loss is None else f", loss {point.loss:.3f}"
        share = point.step / point.total_steps if point.total_steps else 0.0
        st.progress(min(share, 1.0), f"Step {point.step} of {point.total_steps}{loss}")

    st.fragment(draw, run_every=LIVE_SECONDS)()


def _again(snapshot: Snapshot, trial: Trial) -> None:
    """What this trial repeats, or how it did when it was run again."""
    first = snapshot.confirmed_trial(trial)
    if first is not None:
        st.caption(
            f"Repeats trial {first.number} whole, under another seed, "
            "judged on a test split that the search never saw."
        )
        link("trial", f"Open trial {first.number}", icon=":material/replay:", trial=first.number)
    repeats = snapshot.replicates
    runs = repeats.confirmations(trial)
    if not runs:
        return
    st.subheader("Run again whole, with other seeds", anchor=False)
    metrics = [o.metric for o in snapshot.study.objectives]
    rows = [
        {"trial": str(t.number), "seed": str(t.seed)}
        | {"judged on": "validation" if t is trial else "test"}
        | {metric_label(m): format_metric(m, t.metric(m)) for m in metrics}
        for t in (trial, *runs)
    ]
    joint = {m: repeats.test_estimate(trial, m) or repeats.estimate(trial, m) for m in metrics}
    means = {metric_label(m): format_metric(m, f.value) for m, f in joint.items() if f is not None}
    ends = {metric_label(m): format_interval(m, f.ci95) for m, f in joint.items() if f is not None}
    rows += [{"trial": "mean", **means}, {"trial": "95% interval", **ends}]
    st.dataframe(pd.DataFrame(rows).fillna(""), hide_index=True, height="content")


def _strategy(snapshot: Snapshot, trial: Trial) -> None:
    st.subheader("Strategy", anchor=False)
    base = snapshot.study.baseline.values
    rows = [
        {
            "lever": name,
            "here": setting(value),
            "default": setting(base[name]) if name in base else "",
            "differs": base.get(name) != value,
        }
        for name, value in trial.strategy.values.items()
    ]
    own = [row for row in rows if row["differs"]]
    if own:
        st.dataframe(
            pd.DataFrame(own)[["lever", "here", "default"]], hide_index=True, height="content"
        )
    else:
        st.caption("Every lever stands at its default.")
    with st.expander(f"All {len(rows)} levers"):
        st.dataframe(pd.DataFrame(rows).style.apply(_marked, axis=1), hide_index=True)


def _marked(row: pd.Series) -> list[str]:
    style = "background-color: rgba(230, 159, 0, 0.22); font-weight: 600"
    return [style if row["differs"] else ""] * len(row)


def _measurements(snapshot: Snapshot, trial: Trial) -> None:
    st.subheader("Measurements", anchor=False)
    found = trial.result.measurements
    if not found:
        st.caption("Nothing was measured.")
        return
    order = [name for name in snapshot.metrics if name in found]
    st.dataframe(
        pd.DataFrame([_row(snapshot, found[name]) for name in order]),
        hide_index=True,
        height="content",
    )
    raw = [name for name in order if found[name].samples]
    if raw:
        name = st.selectbox("Raw samples of", raw, format_func=metric_label, key="raw", width=240)
        st.plotly_chart(
            samples_figure(found[name]), config=STILL, alt="Raw samples in the order measured"
        )


def _row(snapshot: Snapshot, measured: Measurement) -> dict[str, object]:
    shared = measured.source
    return {
        "metric": metric_label(measured.name),
        "value": format_metric(measured.name, measured.value),
        "times the default": format_ratio_to_default(
            measured.name, measured.value, snapshot.baseline
        )
        or "",
        "95% interval": format_interval(measured.name, measured.ci95),
        "samples": measured.n,
        "from": "measured here" if shared is None else f"shared from trial {shared}",
    }


def _pictures(snapshot: Snapshot, trial: Trial) -> None:
    evidence = trial.result
    left, right = st.columns(2)
    with left:
        st.subheader("Learning curve", anchor=False)
        if evidence.curve:
            st.plotly_chart(
                curve_figure(evidence.curve), config=STILL, alt="Loss and scores by step"
            )
        else:
            st.caption("No step was reported.")
    with right:
        st.subheader("Memory", anchor=False)
        if evidence.memory:
            st.plotly_chart(memory_figure(evidence.memory), config=STILL, alt="Memory over time")
        else:
            st.caption("Memory was not sampled.")


def _predictions(snapshot: Snapshot, trial: Trial) -> None:
    found = prediction_checks(trial)
    if not found:
        return
    st.subheader("Predicted and measured", anchor=False)
    rows = [
        {
            "metric": metric_label(f.metric),
            "predicted": format_metric(f.metric, f.predicted),
            "measured": format_metric(f.metric, f.measured),
            "off by": f"{f.predicted / f.measured - 1:+.0%}" if f.measured else "",
        }
        for f in found
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")


def _record(snapshot: Snapshot, trial: Trial) -> None:
    evidence = trial.result
    st.subheader("Record", anchor=False)
    if evidence.events:
        rows = [{"at": e.at, "what": e.kind, "message": e.message} for e in evidence.events]
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, height="content",
            column_config={"at": st.column_config.DatetimeColumn(format="HH:mm:ss", width="small")},
        )  # fmt: skip
    if evidence.log:
        lines = evidence.log.splitlines()
        with st.expander(f"Log, last {min(len(lines), LOG_LINES)} of {len(lines)} lines"):
            st.code("\n".join(lines[-LOG_LINES:]), language=None, wrap_lines=True)
    if evidence.environment:
        with st.expander("Environment"):
            st.json(dict(evidence.environment))
    if evidence.artifacts:
        with st.expander("Files"):
            st.dataframe(
                pd.DataFrame([{"name": n, "path": p} for n, p in evidence.artifacts.items()]),
                hide_index=True,
            )
    st.caption(f"Asked for by {escape_markdown(trial.origin)}, seed {trial.seed}.")
