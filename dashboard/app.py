"""The application: settings, password, navigation, and the display of errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from autotune.errors import AutotuneError

from .common import remember_pages
from .login import require_login
from .settings import Settings, current
from .text import escape_markdown
from .views import compare, export, front, levers, queue, search, studies, trial, trials

ICON = Path(__file__).with_name("icon.svg")
"""Our own file, since Streamlit fetches its named icons for the tab from the internet."""

STYLE = "<style>.stMainBlockContainer {padding-top: 4rem; padding-bottom: 3rem}</style>"
"""Less space above the title than Streamlit's default."""

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

QUEUE = (queue.page, "Queue", ":material/pending_actions:")
"""The page of a dashboard that is given a service."""


def pages_of(settings: Settings) -> dict[str, tuple[Callable[[], None], str, str]]:
    """The pages by their URL, with function, title and icon."""
    return {**PAGES, "queue": QUEUE} if settings.service or settings.login_url else PAGES


def main() -> None:
    """Draw the page at the current URL."""
    st.set_page_config("autotune", str(ICON), layout="wide")
    st.html(STYLE)
    settings = current()
    if settings is None:
        st.error("This server was not started by `autotune dashboard`, so it has no storage.")
        st.stop()
    require_login(settings)
    pages = {
        name: st.Page(
            _show_errors(page), title=title, icon=icon, url_path=name, default=name == "studies"
        )
        for name, (page, title, icon) in pages_of(settings).items()
    }
    remember_pages(pages)
    st.navigation(list(pages.values()), position="top").run()


def _show_errors(page: Callable[[], None]) -> Callable[[], None]:
    """``page``, with the message and hint of an error instead of a traceback."""

    def guarded_page() -> None:
        try:
            page()
        except AutotuneError as error:
            st.error(escape_markdown(error.message), icon=":material/error:")
            if error.hint:
                st.code(error.hint, language=None, wrap_lines=True)

    return guarded_page
