"""One trial: settings, measurements, curves, predictions and log."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from autotune.analysis.attribution import METHOD_NOTE, path_sentence, path_table
from autotune.analysis.intervals import figure_interval
from autotune.analysis.replicates import Replicates
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import (
    UNCLEAR_CAPTION,
    format_interval,
    format_metric,
    format_ratio_to_default,
    format_value,
    metric_label,
)
from autotune.analysis.timeline import prediction_checks
from autotune.domain import BEST_STEP, State, Trial
from autotune.domain.text import parse_trial_number
from autotune.report.evaluation_section import (
    EXPLANATION,
    evaluation_figure,
    evaluations_by_trial,
)
from autotune.report.path_figure import path_figure

from ..common import (
    HIDE_TOOLBAR,
    LIVE_SECONDS,
    is_complete_result,
    link,
    objective_metrics,
    sentence,
    state_line,
    study_page,
)
from ..figures import curve_figure, has_curve, memory_figure, samples_figure
from ..live import LiveStudy
from ..text import capitalized, escape_markdown

MAX_LOG_LINES = 200
RATIO_CAPTION = "times the default: speeds and times relative to the reference workload"


@study_page("Trial")
def page(study: LiveStudy, snapshot: Snapshot) -> None:
    number = _selected_number(snapshot)
    if number not in snapshot.by_number:
        st.warning(f"This study has trials 0 to {snapshot.trials[-1].number}.")
        return
    trial = study.trial(number)
    _head(snapshot, trial)
    if trial.state is State.RUNNING:
        _progress(study, number)
    for section in (_confirmations, _strategy, _path, _measurements, _curves):
        section(snapshot, trial)
    _evaluations(study, snapshot, trial)
    _predictions(snapshot, trial)
    _record(trial)


def _selected_number(snapshot: Snapshot) -> int:
    requested, default = st.query_params.get("trial"), snapshot.knee or snapshot.trials[0]
    if requested is not None and not _is_number(requested):
        # Bound to the URL, the widget raises an error for infinite numbers.
        return st.number_input("Trial", 0, None, default.number, key="trial-unbound", width=160)
    if "trial" not in st.session_state and requested is None:
        st.session_state["trial"] = default.number
    number = st.number_input(
        "Trial", 0, None, None, step=1, key="trial", bind="query-params",
        persist_state="session", width=160,
    )  # fmt: skip
    return -1 if number is None else int(number)


def _is_number(text: str) -> bool:
    return not text or parse_trial_number(text) is not None


def _head(snapshot: Snapshot, trial: Trial) -> None:
    state_line(snapshot, trial)
    if is_complete_result(trial) and snapshot.baseline is not None:
        st.markdown(f"{capitalized(sentence(snapshot, trial))}.")
    objective_metrics(snapshot, trial)
    if is_complete_result(trial):
        link("export", "Export this trial", icon=":material/ios_share:", choice=trial.number)


def _progress(study: LiveStudy, number: int) -> None:
    def draw() -> None:
        point = study.progress().get(number)
        if point is None:
            st.progress(0.0, "Preparing")
            return
        loss = "" if point.loss is None else f", loss {point.loss:.3f}"
        share = point.step / point.total_steps if point.total_steps else 0.0
        st.progress(min(share, 1.0), f"Step {point.step} of {point.total_steps}{loss}")

    st.fragment(draw, run_every=LIVE_SECONDS)()


def _confirmations(snapshot: Snapshot, trial: Trial) -> None:
    """The trial that this one confirms, or the runs that repeat it with other seeds."""
    first = snapshot.confirmed_trial(trial)
    if first is not None:
        st.caption(
            f"Repeats the full training run of trial {first.number} with another seed, evaluated "
            "on a test split that the search does not use."
        )
        link("trial", f"Open trial {first.number}", icon=":material/replay:", trial=first.number)
    repeats = snapshot.replicates
    confirmations = repeats.confirmations(trial)
    runs = (*repeats.validation_runs(trial), *confirmations)
    if not runs:
        return
    st.subheader("Full training runs repeated with other seeds", anchor=False)
    metrics = snapshot.study.reported_metrics
    rows = [
        {"trial": str(t.number), "seed": str(t.seed)}
        | {"split": "test" if t.is_confirmation else "validation"}
        | {metric_label(m): format_metric(m, t.metric(m)) for m in metrics}
        for t in (trial, *runs)
    ]
    rows += _means(repeats, trial, metrics) if confirmations else []
    st.dataframe(pd.DataFrame(rows).fillna(""), hide_index=True, height="content")


def _means(repeats: Replicates, trial: Trial, metrics: Sequence[str]) -> list[dict[str, str]]:
    """The rows of the means of a confirmed trial, and of their intervals."""
    joint = {m: repeats.test_estimate(trial, m) or repeats.estimate(trial, m) for m in metrics}
    means = {metric_label(m): format_metric(m, f.value) for m, f in joint.items() if f is not None}
    ends = {metric_label(m): format_interval(m, f.ci95) for m, f in joint.items() if f is not None}
    return [{"trial": "mean", **means}, {"trial": "95% interval", **ends}]


def _strategy(snapshot: Snapshot, trial: Trial) -> None:
    st.subheader("Strategy", anchor=False)
    base = snapshot.study.baseline.values
    rows = [
        {
            "lever": name,
            "setting": format_value(value),
            "default": format_value(base[name]) if name in base else "",
            "differs": base.get(name) != value,
        }
        for name, value in trial.strategy.values.items()
    ]
    different = [row for row in rows if row["differs"]]
    if different:
        st.dataframe(
            pd.DataFrame(different)[["lever", "setting", "default"]],
            hide_index=True,
            height="content",
        )
    else:
        st.caption("Every lever has its default setting.")
    with st.expander(f"All {len(rows)} levers"):
        st.dataframe(pd.DataFrame(rows).style.apply(_highlight, axis=1), hide_index=True)


def _highlight(row: pd.Series) -> list[str]:
    style = "background-color: rgba(230, 159, 0, 0.22); font-weight: 600"
    return [style if row["differs"] else ""] * len(row)


def _path(snapshot: Snapshot, trial: Trial) -> None:
    """Where the gain of the trial comes from."""
    attribution = snapshot.attribution(trial)
    if attribution is None:
        return
    st.subheader("Where the gain comes from", anchor=False)
    for metric, column in zip(attribution.totals, st.columns(len(attribution.totals)), strict=True):
        column.plotly_chart(
            path_figure(snapshot.study, attribution, [metric]),
            key=f"path-{metric}",
            config=HIDE_TOOLBAR,
            alt=f"Contributions of the levers: {path_sentence(attribution)}",
        )
    st.caption(METHOD_NOTE)
    with st.expander("Contributions with intervals"):
        head, rows = path_table(attribution)
        st.dataframe(pd.DataFrame(rows, columns=head), hide_index=True, height="content")


def _measurements(snapshot: Snapshot, trial: Trial) -> None:
    st.subheader("Measurements", anchor=False)
    measurements = trial.result.measurements
    if not measurements:
        st.caption("Nothing was measured.")
        return
    order = [name for name in snapshot.metrics if name in measurements]
    st.dataframe(
        pd.DataFrame([_measurement_row(snapshot, trial, name) for name in order]),
        hide_index=True,
        height="content",
    )
    st.caption(escape_markdown(f"{RATIO_CAPTION}; {UNCLEAR_CAPTION}."))
    raw = [name for name in order if measurements[name].samples]
    if raw:
        name = st.selectbox("Raw samples of", raw, format_func=metric_label, key="raw", width=240)
        st.plotly_chart(
            samples_figure(measurements[name]), config=HIDE_TOOLBAR, alt="Raw samples in order"
        )


def _measurement_row(snapshot: Snapshot, trial: Trial, name: str) -> dict[str, object]:
    measurement = trial.result.measurements[name]
    source = measurement.source
    return {
        "metric": metric_label(measurement.name),
        "value": format_metric(measurement.name, measurement.value),
        "times the default": format_ratio_to_default(name, trial, snapshot.baseline) or "",
        "95% interval": format_interval(name, figure_interval(trial, name).ci95),
        "samples": measurement.n,
        "from": "this trial" if source is None else f"reused from trial {source}",
    }


def _curves(snapshot: Snapshot, trial: Trial) -> None:
    result = trial.result
    left, right = st.columns(2)
    with left:
        st.subheader("Learning curve", anchor=False)
        if has_curve(result.curve):
            st.plotly_chart(
                curve_figure(result.curve, result.environment.get(BEST_STEP)),
                config=HIDE_TOOLBAR,
                alt="Loss and scores by step",
            )
        else:
            st.caption("No step was reported.")
    with right:
        st.subheader("Memory", anchor=False)
        if result.memory:
            st.plotly_chart(
                memory_figure(result.memory), config=HIDE_TOOLBAR, alt="Memory over time"
            )
        else:
            st.caption("Memory was not sampled.")


def _evaluations(study: LiveStudy, snapshot: Snapshot, trial: Trial) -> None:
    """The evaluations of the trial, beside those of the default, over the time of training."""
    default, metric = snapshot.baseline, snapshot.study.task.best_metric
    trials = [trial]
    if default is not None and default.number != trial.number:
        trials.insert(0, study.trial(default.number))
    curves = {t.number: t.result.curve for t in trials}
    evaluations = evaluations_by_trial(snapshot.study, trials, curves)
    if metric is None or trial.number not in evaluations:
        return
    label = metric_label(metric)
    st.subheader(f"{label[0].upper()}{label[1:]} over time", anchor=False)
    st.plotly_chart(
        evaluation_figure(evaluations, metric, static=False),
        config=HIDE_TOOLBAR,
        alt=f"{label} of each evaluation over the seconds of training",
    )
    st.caption(EXPLANATION)


def _predictions(snapshot: Snapshot, trial: Trial) -> None:
    checks = prediction_checks(trial)
    if not checks:
        return
    st.subheader("Predicted and measured", anchor=False)
    rows = [
        {
            "metric": "time of the trial" if c.metric == "seconds" else metric_label(c.metric),
            "predicted": _predicted(c.metric, c.predicted),
            "measured": _predicted(c.metric, c.measured),
            "off by": f"{c.predicted / c.measured - 1:+.0%}" if c.measured else "",
        }
        for c in checks
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")


def _predicted(metric: str, value: float | None) -> str:
    """The time of a trial is no metric."""
    is_time = metric == "seconds" and value is not None
    return f"{value:.1f} s" if is_time else format_metric(metric, value)


def _record(trial: Trial) -> None:
    result = trial.result
    st.subheader("Record", anchor=False)
    if result.events:
        rows = [{"time": e.time, "kind": e.kind, "message": e.message} for e in result.events]
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, height="content",
            column_config={
                "time": st.column_config.DatetimeColumn(format="HH:mm:ss", width="small")
            },
        )  # fmt: skip
    if result.log:
        lines = result.log.splitlines()
        with st.expander(f"Log, last {min(len(lines), MAX_LOG_LINES)} of {len(lines)} lines"):
            st.code("\n".join(lines[-MAX_LOG_LINES:]), language=None, wrap_lines=True)
    if result.environment:
        with st.expander("Environment"):
            st.json(dict(result.environment))
    if result.artifacts:
        with st.expander("Files"):
            st.dataframe(
                pd.DataFrame([{"name": n, "path": p} for n, p in result.artifacts.items()]),
                hide_index=True,
            )
    st.caption(f"Origin: {escape_markdown(trial.origin)}. Seed: {trial.seed}.")
