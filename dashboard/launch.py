"""Starting the server: on this machine only, unless a password is set; no telemetry."""

from __future__ import annotations

import getpass
import ipaddress
import socket
import sys
from pathlib import Path
from typing import Any

from autotune.errors import ExecutionError

from .password import PasswordGate, from_environment
from .settings import Settings, configure


def serve(
    storage: str, host: str = "127.0.0.1", port: int = 8501, *, open_browser: bool = False
) -> None:
    """Serve the dashboard over ``storage`` (a SQLAlchemy URL) until interrupted.

    The store is opened once first, so that a wrong URL ends here with its own error. A ``host``
    other than this machine needs a password, from ``AUTOTUNE_DASHBOARD_PASSWORD`` or asked for.

    :raises UsageError: there is no password, or it is too short.
    :raises ExecutionError: the port is taken.
    """
    from autotune.store import open_store

    open_store(storage, read_only=True).close()
    lock = None if is_local(host) else PasswordGate(from_environment(_prompt()))
    _check_port(host, port)
    configure(Settings(storage, lock))
    _run(Path(__file__).with_name("main.py"), options(host, port, open_browser))


def is_local(host: str) -> bool:
    """Whether only this machine can connect to a server bound to ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def options(host: str, port: int, open_browser: bool) -> dict[str, Any]:
    """Streamlit's settings for this server; they go before any ``config.toml`` of the user."""
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": not open_browser,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.disconnectedSessionTTL": 30,
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "logger.level": "warning",
        "theme.headingFontSizes": ["2rem", "1.6rem", "1.3rem", "1.1rem", "1rem", "1rem"],
        "theme.light.primaryColor": "#0072B2",
        "theme.dark.primaryColor": "#56B4E9",
    }


def _prompt() -> Any:
    return getpass.getpass if sys.stdin is not None and sys.stdin.isatty() else None


def _check_port(host: str, port: int) -> None:
    """Streamlit would end the process with its own words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise ExecutionError(
                f"the dashboard cannot listen on {host}:{port}: {error.strerror or error}",
                hint=f"autotune dashboard --port {port + 1}",
            ) from error


def _run(script: Path, flags: dict[str, Any]) -> None:
    """Serve. The pages are imported first, so that the first visitor does not wait for it."""
    import streamlit as st
    from starlette.middleware import Middleware
    from streamlit import config
    from streamlit.web import bootstrap

    from .app import PAGES
    from .preload import PreloadMiddleware

    bootstrap.load_config_options(flags)
    origins = config.get_option("client.allowedOrigins")
    entrance = Middleware(PreloadMiddleware, pages=tuple(PAGES), origins=tuple(origins))
    st.App(script, middleware=[entrance]).run(config=flags)
