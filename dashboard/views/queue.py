"""The queue of a service: submit a study file, which is checked as one types, stop and resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from autotune.client import Client
from autotune.errors import AutotuneError, SpecError

from ..common import LIVE_SECONDS, auto_refresh
from ..login import current_client
from ..text import escape_markdown

ACTIVE = ("queued", "running")


@dataclass(frozen=True)
class TypedStudy:
    """The text of a study file that a visitor has typed."""

    text: str


def page() -> None:
    st.title("Queue", anchor=False)
    client = current_client()
    studies = client.studies()
    _list(client, studies)
    _form(client)
    auto_refresh(lambda: client.studies() != studies, LIVE_SECONDS)


def _list(client: Client, studies: Any) -> None:
    if not studies:
        st.info("No study was submitted yet.", icon=":material/science:")
        return
    event = st.dataframe(
        pd.DataFrame([_cells(study) for study in studies]),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"queue-{len(studies)}",
    )
    rows = event["selection"]["rows"]
    if not rows:
        st.caption("Select a row to stop or resume a study.")
        return
    study = studies[rows[0]]
    name, state = str(study["study"]), study["state"]
    with st.container(horizontal=True):
        if state in ACTIVE and st.button(f"Stop {escape_markdown(name)}"):
            client.stop(name)
            st.rerun()
        if state is not None and state not in ACTIVE:
            trials = st.number_input("Trials in total", min_value=1, value=None, step=1)
            if st.button(f"Resume {escape_markdown(name)}"):
                client.resume(name, {} if trials is None else {"budget.trials": int(trials)})
                st.rerun()


def _cells(study: Mapping[str, Any]) -> dict[str, object]:
    trials = ", ".join(f"{count} {state}" for state, count in study["trials"].items())
    return {
        "study": study["study"],
        "state": study["state"] or "searched without the service",
        "owner": study["owner"] or "",
        "trials": trials or "none",
        "submitted": _minute(study["submitted_at"]),
        "reason": study["reason"] or "",
    }


def _minute(time: str | None) -> str:
    """An ISO 8601 time in UTC, to the minute; empty without one."""
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M} UTC" if time else ""


def _form(client: Client) -> None:
    st.subheader("Submit", anchor=False)
    text = st.text_area(
        "Study file", height=320, key="study_text", max_chars=100_000,
        help="YAML. Data files are uploaded with autotune.Client or curl; see docs/service.md.",
    )  # fmt: skip
    if not text.strip():
        return
    try:
        name = client.validate(TypedStudy(text))
    except SpecError as error:
        for mistake in error.mistakes:
            st.error(
                f"line {mistake.line}, column {mistake.column}: {escape_markdown(mistake.message)}",
                icon=":material/error:",
            )
        return
    except AutotuneError as error:
        st.error(escape_markdown(error.message), icon=":material/error:")
        return
    st.success(f"{escape_markdown(name)} is valid.", icon=":material/check_circle:")
    if st.button("Submit", type="primary"):
        client.submit(TypedStudy(text))
        st.rerun()
