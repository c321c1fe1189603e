"""The frame around every page: settings, the lock, navigation, errors in the user's words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from autotune.errors import AutotuneError

from .common import remember_pages
from .settings import current
from .text import escape_markdown
from .views import compare, export, front, levers, search, studies, trial, trials

ICON = Path(__file__).with_name("icon.svg")
"""A file of our own: Streamlit's named icons for the tab are fetched from the internet."""

STYLE = "<style>.stMainBlockContainer {padding-top: 4rem; padding-bottom: 3rem}</style>"
"""Streamlit leaves much of a small screen empty above the title."""

PAGES: dict[str, tuple[Callable[[], None], str, str]] = {
    "studies": (studies.page, "Studies", ":material/science:"),
    "front": (front.page, "Front", ":material/scatter_plot:"),
    "trials": (trials.page, "Trials", ":material/table_rows:"),
    "trial": (trial.page, "Trial", ":material/experiment:"),
    "search": (search.page, "Search", ":material/trending_up:"),
    "levers": (levers.page, "Levers", ":material/tune:"),
    "compare": (compare.page, "Compare", ":material/compare_arrows:"),
    "export": (export.page, "Export", ":material/ios_share:"),
}


def main() -> None:
    """Draw the page that the URL names."""
    st.set_page_config("autotune", str(ICON), layout="wide")
    st.html(STYLE)
    settings = current()
    if settings is None:
        st.error("This server was not started by `autotune dashboard`, so it has no storage.")
        st.stop()
    if settings.lock is not None and not st.session_state.get("_unlocked"):
        _ask_password()
        st.stop()
    pages = {
        name: st.Page(
            _safely(page), title=title, icon=icon, url_path=name, default=name == "studies"
        )
        for name, (page, title, icon) in PAGES.items()
    }
    remember_pages(pages)
    st.navigation(list(pages.values()), position="top").run()


def _safely(page: Callable[[], None]) -> Callable[[], None]:
    """``page``, with what autotune has to say about an error in place of a traceback."""

    def shown() -> None:
        try:
            page()
        except AutotuneError as error:
            st.error(escape_markdown(error.message), icon=":material/error:")
            if error.hint:
                st.code(error.hint, language=None, wrap_lines=True)

    return shown


def _ask_password() -> None:
    settings = current()
    assert settings is not None and settings.lock is not None
    with st.form("password", width=420):
        st.subheader("autotune", anchor=False)
        password = st.text_input("Password", type="password", max_chars=256)
        asked = st.form_submit_button("Open")
    if not asked:
        return
    address = st.context.ip_address
    if settings.lock.opens(password, address):
        st.session_state["_unlocked"] = True
        st.rerun()
    wait = settings.lock.wait_seconds(address)
    if wait > 0:
        st.error(f"Too many wrong passwords. Try again in {wait:.0f} seconds.")
    else:
        st.error("That is not the password.")
