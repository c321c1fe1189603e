"""Taking a trial to a trainer: choose it, choose the format, look at the files, download them."""

from __future__ import annotations

import shlex
from pathlib import Path

import streamlit as st

from autotune.analysis.select import select_trial
from autotune.analysis.snapshot import Snapshot
from autotune.components import EXPORT_FORMATS
from autotune.domain import Study, Trial
from autotune.errors import AutotuneError

from .. import exporting
from ..common import sentence, study_page
from ..settings import current
from ..text import escape_markdown

WORDS = ("knee", "fastest", "most-accurate", "cheapest")
LANGUAGES = {
    ".py": "python",
    ".json": "json",
    ".yaml": "yaml",
    ".toml": "toml",
    ".md": "markdown",
    ".txt": "text",
    ".sh": "bash",
}
MOST_SHOWN = 50_000
"""Characters of a file that are shown; the download has all of it."""


def page() -> None:
    opened = study_page("Export")
    if opened is None:
        return
    _, snapshot = opened
    if not snapshot.feasible and not snapshot.trials:
        st.info("Nothing to export yet: no trial has finished.")
        return
    if not EXPORT_FORMATS:
        st.info("This installation has no export formats.")
        return
    query = st.text_input(
        "Which trial",
        "knee",
        key="choice",
        bind="query-params",
        help="A trial number, knee, fastest, most-accurate, cheapest, "
        "or a condition such as: accuracy >= 0.9 then cheapest",
    )
    st.caption(f"For example {', '.join(WORDS)}, 12, or `accuracy >= 0.75 then cheapest`")
    trial = _chosen(snapshot, query or "knee")
    if trial is None:
        return
    target = st.selectbox("Format", list(EXPORT_FORMATS), key="to", bind="query-params", width=300)
    st.markdown(f"**Trial {trial.number}**: {sentence(snapshot, trial)}.")
    _show(snapshot.study, trial, target, query or "knee")


def _chosen(snapshot: Snapshot, query: str) -> Trial | None:
    try:
        return select_trial(snapshot.study, snapshot.trials, query)
    except AutotuneError as error:
        st.warning(escape_markdown(error.message), icon=":material/search_off:")
        if error.hint:
            st.caption(escape_markdown(error.hint))
        return None


def _show(study: Study, trial: Trial, target: str, query: str) -> None:
    name = f"{_safe(study.name)}-{trial.number}-{target}"
    flags = ["--trial", query, "--to", target, "--output", f"out/{name}"]
    st.code(
        shlex.join(["autotune", "export", study.name, *flags]), language="bash", wrap_lines=True
    )
    asked = (study.name, trial.number, target)
    if st.button("Write the files", icon=":material/draft:", type="primary"):
        st.session_state["exported"] = asked
    if st.session_state.get("exported") != asked:
        st.caption("Type the command, or have the files written here to look at and download.")
        return
    settings = current()
    assert settings is not None
    made = exporting.exported(settings.storage, *asked)
    st.download_button(
        "Download as zip", lambda: made.zipped(name), f"{name}.zip", "application/zip",
        icon=":material/download:", on_click="ignore", key="zip",
    )  # fmt: skip
    for path in made.files:
        shown = str(path.relative_to(made.folder))
        with st.expander(shown, expanded=shown.startswith("train.")):
            _show_file(path)


def _safe(name: str) -> str:
    """A name that is one plain path component on any system."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def _show_file(path: Path) -> None:
    language = LANGUAGES.get(path.suffix)
    if language is None:
        st.caption(f"{path.stat().st_size:,} bytes")
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        st.code(file.read(MOST_SHOWN), language=language, height=320)
