"""Export of a trial: select the trial and the format, look at the files, download them."""

from __future__ import annotations

import shlex
from pathlib import Path

import streamlit as st

from autotune.analysis.recommendation import PICKS
from autotune.analysis.select import QUERY_FORMS, select_trial
from autotune.analysis.snapshot import Snapshot
from autotune.components import EXPORT_FORMATS
from autotune.domain import Study, Trial
from autotune.errors import AutotuneError
from autotune.store.database import masked, parse_url

from .. import exporting
from ..common import sentence, study_page
from ..live import LiveStudy
from ..settings import current
from ..text import escape_markdown

EXAMPLES = ("knee", *PICKS)
LANGUAGES = {
    ".py": "python",
    ".json": "json",
    ".yaml": "yaml",
    ".toml": "toml",
    ".md": "markdown",
    ".txt": "text",
    ".sh": "bash",
}
MAX_CHARACTERS = 50_000
"""Length of the part of a file that is shown. The download has all of it."""


@study_page("Export", no_trial="There is nothing to export yet: no trial has finished.")
def page(_study: LiveStudy, snapshot: Snapshot) -> None:
    query = st.text_input(
        "Trial",
        "knee",
        key="choice",
        bind="query-params",
        help=QUERY_FORMS.capitalize(),
    )
    st.caption(f"For example {', '.join(EXAMPLES)}, 12, or `accuracy >= 0.75 then cheapest`")
    trial = _select_trial(snapshot, query or "knee")
    if trial is None:
        return
    # Trained models are large, and in the folders of the machine that ran the search.
    formats = [f.name for f in EXPORT_FORMATS.values() if not f.exports_model]
    target = st.selectbox("Format", formats, key="to", bind="query-params", width=300)
    st.markdown(f"**Trial {trial.number}**: {sentence(snapshot, trial)}.")
    _show(snapshot.study, trial, target, query or "knee")


def _select_trial(snapshot: Snapshot, query: str) -> Trial | None:
    try:
        return select_trial(snapshot.study, snapshot.trials, query)
    except AutotuneError as error:
        st.warning(escape_markdown(error.message), icon=":material/search_off:")
        if error.hint:
            st.caption(escape_markdown(error.hint))
        return None


def _show(study: Study, trial: Trial, target: str, query: str) -> None:
    name = f"{_path_component(study.name)}-{trial.number}-{target}"
    flags = ["--trial", query, "--to", target, "--output", f"out/{name}"]
    settings = current()
    assert settings is not None
    flags += ["--storage", masked(parse_url(settings.storage))]
    st.code(
        shlex.join(["autotune", "export", study.name, *flags]), language="bash", wrap_lines=True
    )
    request = (study.name, trial.number, target, trial.finished_at)
    if st.button("Write the files", icon=":material/draft:", type="primary"):
        st.session_state["exported"] = request
    if st.session_state.get("exported") != request:
        st.caption("Run the command, or write the files here to look at and download them.")
        return
    export = exporting.export_trial(settings.storage, *request)
    st.download_button(
        "Download as zip", lambda: export.zipped(name), f"{name}.zip", "application/zip",
        icon=":material/download:", on_click="ignore", key="zip",
    )  # fmt: skip
    for path in export.files:
        file_name = str(path.relative_to(export.folder))
        with st.expander(escape_markdown(file_name), expanded=file_name.startswith("train.")):
            _show_file(path)


def _path_component(name: str) -> str:
    """The name as one path component that is valid on any system."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def _show_file(path: Path) -> None:
    language = LANGUAGES.get(path.suffix)
    if language is None:
        st.caption(f"{path.stat().st_size:,} bytes")
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        st.code(file.read(MAX_CHARACTERS), language=language, height=320)
