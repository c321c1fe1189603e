"""Commands about the tokens of the service: ``token create``, ``token list``, ``token revoke``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from autotune.cli.options import JsonOption, StorageOption, storage_url
from autotune.cli.output import info, out, print_json
from autotune.errors import UsageError

if TYPE_CHECKING:
    from autotune.store.access import AccessTokens

app = typer.Typer(help="Manage the tokens of the service.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the user.")]


@app.command("create")
def create_token(
    name: NameArgument,
    role: Annotated[
        str, typer.Option(help="read, submit (own studies), or admin (all studies).")
    ] = "read",
    minutes: Annotated[
        float | None,
        typer.Option(help="Minutes that all studies of this user may take.", min=0),
    ] = None,
    storage: StorageOption = None,
) -> None:
    """Create a token and print it. It is shown once; only a digest is stored."""
    from autotune.store.access import Role

    roles = [item.value for item in Role]
    if role not in roles:
        raise UsageError(f"there is no role {role!r}", hint=f"one of {', '.join(roles)}")
    with _tokens(storage) as tokens:
        secret = tokens.create(name, Role(role), minutes=minutes)
    info(f"token of {name} with role {role}; keep it, it cannot be shown again:")
    out.print(secret, markup=False, soft_wrap=True)


@app.command("list")
def list_tokens(storage: StorageOption = None, json: JsonOption = False) -> None:
    """List the tokens, without their secrets."""
    from autotune.cli.layout import Column, Listing, Row

    with _tokens(storage) as tokens:
        entries = tokens.tokens()
    if json:
        print_json([asdict(entry) for entry in entries])
        return
    rows = []
    for entry in entries:
        limit = "" if entry.minutes is None else f"{entry.minutes:g}"
        state = "valid" if entry.revoked_at is None else f"revoked {entry.revoked_at:%Y-%m-%d}"
        created = f"{entry.created_at:%Y-%m-%d}"
        rows.append(Row([entry.name, entry.role.value, limit, created, state]))
    names = [Column("name", left=True), Column("role", left=True), Column("minutes"),
             Column("created", left=True), Column("state", left=True)]  # fmt: skip
    out.print(Listing(names, rows))


@app.command("revoke")
def revoke_token(name: NameArgument, storage: StorageOption = None) -> None:
    """Make a token invalid at once. Its user keeps the studies."""
    with _tokens(storage) as tokens:
        tokens.revoke(name)
    info(f"the token of {name} is revoked")


@contextmanager
def _tokens(storage: str | None) -> Iterator[AccessTokens]:
    """The tokens of a database, which is created if needed."""
    from autotune.store import open_store
    from autotune.store.access import AccessTokens

    url = storage_url(storage)
    open_store(url).close()
    tokens = AccessTokens(url)
    try:
        yield tokens
    finally:
        tokens.close()
