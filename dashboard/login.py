"""What a visitor types before the first page: the password, or a token of the service."""

from __future__ import annotations

import streamlit as st

from autotune.client import Client
from autotune.errors import AutotuneError

from .password import PasswordGate
from .settings import Settings, current
from .text import escape_markdown

CLIENT, UNLOCKED = "_client", "_unlocked"
"""Keys of the session."""


def require_login(settings: Settings) -> None:
    """Ask, and draw nothing else, until the visitor may read."""
    if settings.login_url is not None:
        if CLIENT not in st.session_state:
            _ask_token(settings.login_url)
            st.stop()
    elif settings.password_gate is not None and not st.session_state.get(UNLOCKED):
        _ask_password(settings.password_gate)
        st.stop()


def current_client() -> Client:
    """The service with the token of the visitor, or with that of the server."""
    client: Client | None = st.session_state.get(CLIENT)
    if client is None:
        settings = current()
        assert settings is not None and settings.service is not None
        client = settings.service
    return client


def _ask_token(url: str) -> None:
    """Ask for a token. The service limits the rate of wrong ones."""
    token = _ask("Token of the service")
    if token is None:
        return
    is_legal = bool(token) and token.isascii() and token.isprintable()
    client = Client(url, token if is_legal else "none")  # without any it would be the server's own
    try:
        client.whoami()
    except AutotuneError as error:
        client.close()
        st.error(escape_markdown(error.message), icon=":material/error:")
        return
    st.session_state[CLIENT] = client
    st.rerun()


def _ask_password(gate: PasswordGate) -> None:
    password = _ask("Password")
    if password is None:
        return
    address = st.context.ip_address
    if gate.accepts(password, address):
        st.session_state[UNLOCKED] = True
        st.rerun()
    wait = gate.wait_seconds(address)
    if wait > 0:
        st.error(f"Too many wrong passwords. Try again in {wait:.0f} seconds.")
    else:
        st.error("Wrong password.")


def _ask(label: str) -> str | None:
    """What was typed; ``None`` before it is sent."""
    with st.form("password", width=420):
        st.subheader("autotune", anchor=False)
        text = st.text_input(label, type="password", max_chars=256)
        submitted = st.form_submit_button("Open")
    return text if submitted else None
