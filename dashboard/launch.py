"""Starts the server: for this machine only unless there is a password, and without telemetry."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.client import Client
from autotune.domain.text import format_address
from autotune.errors import ExecutionError

from .password import PasswordGate, read_password
from .requests import allowed_hosts, is_local
from .settings import Settings, configure


def serve(
    storage: str,
    host: str = "127.0.0.1",
    port: int = 8501,
    names: Sequence[str] = (),
    service: str | None = None,
) -> None:
    """Serve the dashboard over ``storage`` (a SQLAlchemy URL) until interrupted.

    The store is opened first, so that a wrong URL is reported here. A ``host`` other than this
    machine needs a password, from ``AUTOTUNE_DASHBOARD_PASSWORD`` or typed at the terminal; with a
    service, visitors log in with their tokens of it instead.
    ``names`` are other names of a server for this machine only, such as that of a proxy.
    ``service`` is the address of a service, in which visitors can then start and stop studies; on
    this machine with the token of ``AUTOTUNE_TOKEN``.

    :raises UsageError: there is no password, or it is too short.
    :raises ExecutionError: the port is in use.
    """
    from autotune.store import open_store

    open_store(storage, read_only=True).close()
    settings = _settings(storage, host, service)
    _check_port(host, port)
    configure(settings)
    script = Path(__file__).with_name("main.py")
    _run(script, settings, streamlit_options(host, port), allowed_hosts(host, names))


def _settings(storage: str, host: str, service: str | None) -> Settings:
    if service is None:
        gate = None if is_local(host) else PasswordGate(read_password(_terminal_prompt()))
        return Settings(storage, gate)
    client = Client(service)
    if not is_local(host):
        client.close()
        return Settings(storage, login_url=service)
    client.whoami()  # a wrong address or token is reported here
    return Settings(storage, service=client)


def streamlit_options(host: str, port: int) -> dict[str, Any]:
    """The settings of Streamlit, which take precedence over a ``config.toml`` of the user."""
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "server.maxUploadSize": 1,
        "server.disconnectedSessionTTL": 30,
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "client.disableDataExport": True,  # its CSV files keep formulas; page Trials escapes them
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "logger.level": "warning",
        "theme.headingFontSizes": ["2rem", "1.6rem", "1.3rem", "1.1rem", "1rem", "1rem"],
        "theme.light.primaryColor": "#0072B2",
        "theme.dark.primaryColor": "#56B4E9",
    }


def _terminal_prompt() -> Any:
    return getpass.getpass if sys.stdin is not None and sys.stdin.isatty() else None


def _check_port(host: str, port: int) -> None:
    """Check that the port is free. Streamlit would end the process with a message of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            place = format_address(host, port)
            raise ExecutionError(
                f"the dashboard cannot listen on {place}: {error.strerror or error}",
                hint=f"autotune dashboard --port {port + 1}",
            ) from error


def _run(
    script: Path, settings: Settings, options: dict[str, Any], hosts: frozenset[str] | None
) -> None:
    """Serve. The pages are imported first, so that the first visitor does not wait for that."""
    import streamlit as st
    from starlette.middleware import Middleware
    from streamlit import config
    from streamlit.web import bootstrap

    from .app import pages_of
    from .headers import HeadersMiddleware, security_headers
    from .preload import PreloadMiddleware, index_html
    from .requests import RequestFilter

    bootstrap.load_config_options(options)
    origins = tuple(config.get_option("client.allowedOrigins"))
    middleware = [
        Middleware(HeadersMiddleware, headers=security_headers(index_html(origins))),
        Middleware(RequestFilter, hosts=hosts),
        Middleware(PreloadMiddleware, pages=tuple(pages_of(settings)), origins=origins),
    ]
    st.App(script, middleware=middleware).run(config=options)
