"""Tokens of the service and its audit log."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, select, update

from autotune.domain.text import suggest
from autotune.errors import NotFoundError, UsageError
from autotune.store import writes
from autotune.store.database import Database
from autotune.store.service_models import AccessTokenRow, AuditRow

PREFIX = "autotune_"
"""Begins every token, so that programs which look for secrets in files recognise one."""

TOKEN_BYTES = 32
"""A token is random and as long as a key, so that a digest without salt protects it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Role(StrEnum):
    """What a token may do: each role may also do what those before it may."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what ``other`` may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(other)


@dataclass(frozen=True)
class AccessToken:
    """A token without its secret. ``name`` is that of its user. ``minutes`` limits what the studies
    of the user may take."""

    name: str
    role: Role
    minutes: float | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True)
class AuditEntry:
    """A request: who, from which address, what, and with which HTTP status it was answered."""

    at: datetime
    actor: str
    address: str
    action: str
    status: int


_TOKEN = [getattr(AccessTokenRow, name) for name in AccessToken.__dataclass_fields__]
_ENTRY = [getattr(AuditRow, name) for name in AuditEntry.__dataclass_fields__]


class AccessTokens:
    """Tokens and audit log in the database at ``url``, whose schema is current."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._database.close()

    def create(self, name: str, role: Role, *, minutes: float | None = None) -> str:
        """Create a token and return it; it cannot be shown again.

        :raises UsageError: the name is malformed, or has a token that is not revoked.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"a token cannot be named {name!r}",
                hint="use up to 64 lower-case letters, digits, '_' and '-'",
            )
        secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        with self._database.transaction(write=True) as connection:
            row = {
                "role": role,
                "digest": _digest(secret),
                "minutes": minutes,
                "created_at": writes.now(connection),
                "revoked_at": None,
            }
            where = AccessTokenRow.name == name
            revoked = update(AccessTokenRow).where(where, AccessTokenRow.revoked_at.is_not(None))
            if connection.execute(revoked.values(row)).rowcount == 1:
                return secret
            if connection.scalar(select(AccessTokenRow.id).where(where)) is not None:
                raise UsageError(
                    f"there is a token {name} already", hint=f"autotune token revoke {name}"
                )
            connection.execute(insert(AccessTokenRow).values(name=name, **row))
        return secret

    def tokens(self) -> Sequence[AccessToken]:
        """All tokens, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(*_TOKEN).order_by(AccessTokenRow.id)).all()
        return [_token(row._mapping) for row in rows]

    def revoke(self, name: str) -> None:
        """Make a token invalid; its user keeps the studies.

        :raises NotFoundError: there is no valid token of this name.
        """
        with self._database.transaction(write=True) as connection:
            valid = AccessTokenRow.revoked_at.is_(None)
            query = update(AccessTokenRow).where(AccessTokenRow.name == name, valid)
            if connection.execute(query.values(revoked_at=writes.now(connection))).rowcount == 0:
                names = connection.scalars(select(AccessTokenRow.name).where(valid)).all()
                raise NotFoundError(f"there is no token {name}", hint=suggest(name, list(names)))

    def verify(self, secret: str) -> AccessToken | None:
        """The valid token with this secret; ``None`` if there is none."""
        query = select(*_TOKEN).where(
            AccessTokenRow.digest == _digest(secret), AccessTokenRow.revoked_at.is_(None)
        )
        with self._database.transaction() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _token(row._mapping)

    def record(self, actor: str, address: str, action: str, status: int) -> None:
        """Add an entry to the audit log."""
        with self._database.transaction(write=True) as connection:
            row = {"actor": actor, "address": address, "action": action[:255], "status": status}
            connection.execute(insert(AuditRow).values(at=writes.now(connection), **row))

    def audit(self, limit: int = 100) -> Sequence[AuditEntry]:
        """The latest entries of the audit log, newest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(*_ENTRY).order_by(AuditRow.id.desc()).limit(limit))
            return [AuditEntry(**row._mapping) for row in rows.all()]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _token(columns: object) -> AccessToken:
    values = dict(columns)  # type: ignore[call-overload]
    return AccessToken(**{**values, "role": Role(values["role"])})
