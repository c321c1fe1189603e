"""The settings of this server. :func:`..launch.serve` sets them before any page runs."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.client import Client

from .password import PasswordGate


@dataclass(frozen=True)
class Settings:
    """``password_gate`` is ``None`` if only this machine can connect. ``service`` starts and stops
    studies; without it visitors only read. ``login_url`` is the service whose tokens are the login;
    each visitor then has the role of his token."""

    storage: str
    password_gate: PasswordGate | None = None
    service: Client | None = None
    login_url: str | None = None


_current: Settings | None = None


def configure(settings: Settings) -> None:
    """Set the settings of this process."""
    global _current  # noqa: PLW0603 - one server a process, set before its first page
    _current = settings


def current() -> Settings | None:
    """The settings; ``None`` in a server that was not started by ``autotune dashboard``."""
    return _current
