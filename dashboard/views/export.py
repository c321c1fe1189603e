"""Taking a trial to a trainer: choose it, choose the format, look at the files, download them."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import streamlit as st

from autotune.analysis.select import choose
from autotune.analysis.snapshot import Snapshot
from autotune.domain import Study, Trial
from autotune.errors import AutotuneError
from autotune.ports import Exporter

from .. import feed
from ..common import sentence, study_page
from ..text import md

EXPORTERS: Mapping[str, Exporter] = {}
WORDS = ("knee", "fastest", "most-accurate", "cheapest")
MOST_SHOWN = 200_000
"""Characters of a file that are shown; the download has all of it."""


def page() -> None:
    opened = study_page("Export")
    if opened is None:
        return
    source, snapshot = opened
    if not snapshot.feasible and not snapshot.trials:
        st.info("Nothing to export yet: no trial has finished.")
        return
    if not EXPORTERS:
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
    st.caption(f"For example {', '.join(WORDS)}, 12, or: accuracy >= 0.75 then cheapest")
    trial = _chosen(snapshot, query or "knee")
    if trial is None:
        return
    target = st.selectbox("Format", list(EXPORTERS), key="to", bind="query-params", width=300)
    st.markdown(f"**Trial {trial.number}**: {sentence(snapshot, trial)}.")
    _show(snapshot.study, source, trial, target, query or "knee")


def _chosen(snapshot: Snapshot, query: str) -> Trial | None:
    try:
        return choose(snapshot.study, snapshot.trials, query)
    except AutotuneError as error:
        st.warning(md(error.message), icon=":material/search_off:")
        if error.hint:
            st.caption(md(error.hint))
        return None


def _show(study: Study, source: feed.Feed, trial: Trial, target: str, query: str) -> None:
    files = _files(study.name, trial.number, target, study, source)
    folder = f"{_safe(study.name)}-{trial.number}-{target}"
    st.download_button(
        "Download as zip", _zipped(folder, files), f"{folder}.zip", "application/zip",
        icon=":material/download:", on_click="ignore", type="primary", key="zip",
    )  # fmt: skip
    flags = ["--trial", query, "--to", target, "--output", f"out/{folder}"]
    st.caption("The same from the command line:")
    st.code(
        shlex.join(["autotune", "export", study.name, *flags]),
        language="bash",
        wrap_lines=True,
    )
    for name, content in files.items():
        with st.expander(name, expanded=name.endswith("train.py")):
            _show_file(name, content)


def _safe(name: str) -> str:
    """A name that is one plain path component on any system."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def _show_file(name: str, content: bytes) -> None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        st.caption(f"{len(content):,} bytes")
        return
    languages = {
        ".py": "python",
        ".json": "json",
        ".yaml": "yaml",
        ".md": "markdown",
        ".sh": "bash",
    }
    st.code(text[:MOST_SHOWN], language=languages.get(Path(name).suffix), height=320)


@st.cache_data(show_spinner="Writing the files", max_entries=32)
def _files(
    study: str, number: int, target: str, _study: Study, _source: feed.Feed
) -> Mapping[str, bytes]:
    """The exported folder by relative path. A finished trial never changes, so it is kept."""
    with TemporaryDirectory(prefix="autotune-export-") as scratch:
        folder = Path(scratch)
        EXPORTERS[target].export(_study, _source.trial(number), folder)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


def _zipped(folder: str, files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}", content)
    return buffer.getvalue()
