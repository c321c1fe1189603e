"""Starts an instance of the service."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace

from autotune.errors import ExecutionError, UsageError
from autotune.service.access import is_loopback
from autotune.service.config import ServiceConfig
from autotune.service.logs import write_json_logs
from autotune.store import open_store
from autotune.store.access import AccessTokens
from autotune.store.database import Database


def serve(config: ServiceConfig, host: str, port: int) -> None:
    """Answer requests at ``host:port`` and run studies, until the process is told to end.

    :raises UsageError: the service would be open to others, or nobody could use it.
    :raises ExecutionError: the port is in use.
    """
    import uvicorn

    from autotune.service.app import create_app

    config = prepare(config, host)
    require_free_port(host, port)
    write_json_logs(sys.stderr)
    app = create_app(config)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )


def prepare(config: ServiceConfig, host: str) -> ServiceConfig:
    """Check the settings, and make them independent of the working directory, which becomes a
    folder without files."""
    if config.is_open and not is_loopback(host):
        raise UsageError(
            f"--no-auth would open the service to all who reach {host}",
            hint="use it with --host 127.0.0.1, or create tokens: autotune token create NAME",
        )
    config = replace(
        config, storage=absolute_storage(config.storage), folder=config.folder.absolute()
    )
    open_store(config.storage).close()
    if not config.is_open and not has_token(config.storage):
        raise UsageError(
            "there is no token, so that nobody could use the service",
            hint="autotune token create NAME --role admin",
        )
    empty = config.folder / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    os.chdir(empty)
    return config


def require_free_port(host: str, port: int) -> None:
    """Check that the service can listen. Otherwise uvicorn ends the process after drivers have
    started, with a message in the log only.

    :raises ExecutionError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ExecutionError(
                f"the service cannot listen on {host} port {port}: {error.strerror or error}",
                hint=f"autotune serve --port {port + 1}",
            ) from error


def absolute_storage(url: str) -> str:
    """``url`` with an absolute path, because drivers have other working directories."""
    database = Database(url)
    database.close()
    if database.path is None:
        return database.url.render_as_string(hide_password=False)
    return f"sqlite:///{database.path}"


def has_token(storage: str) -> bool:
    """Whether there is a valid token."""
    tokens = AccessTokens(storage)
    try:
        return any(token.revoked_at is None for token in tokens.tokens())
    finally:
        tokens.close()
