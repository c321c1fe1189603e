"""The routes of files, webhooks, the machine and the service itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from starlette.responses import JSONResponse

from autotune.domain.text import suggest
from autotune.errors import StoreUnavailableError
from autotune.service.access import current_token, require_admin, require_submit
from autotune.service.config import ServiceConfig
from autotune.service.documents import (
    AuditDocument,
    FileDocument,
    InvalidRequest,
    Record,
    StateDocument,
    TokenDocument,
    WebhookDocument,
    WebhookRequest,
)
from autotune.service.files import MAX_NAME_LENGTH, UserFolder
from autotune.service.metrics import CONTENT_TYPE, write_metrics
from autotune.service.monitor import EventName
from autotune.store import check, codec
from autotune.store.access import AccessToken, AccessTokens
from autotune.store.outbox import Outbox
from autotune.version import __version__

FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

Token = Annotated[AccessToken, Depends(current_token)]
Submitter = Annotated[AccessToken, Depends(require_submit)]
Admin = Annotated[AccessToken, Depends(require_admin)]
FileName = Annotated[str, PathParameter(max_length=MAX_NAME_LENGTH)]


def config_of(request: Request) -> ServiceConfig:
    config: ServiceConfig = request.app.state.config
    return config


Config = Annotated[ServiceConfig, Depends(config_of)]


def make_file_router(max_bytes: int) -> APIRouter:
    """The routes of uploaded files, whose bodies have ``max_bytes`` at most."""
    router = APIRouter(prefix="/v1/files", tags=["files"])

    @router.put("/{name:path}", openapi_extra=FILE_BODY, max_body_size=max_bytes)
    async def upload_file(
        request: Request, name: FileName, token: Submitter, config: Config
    ) -> FileDocument:
        """Upload a file of data or a model. Study files name it as it is named here."""
        folder = UserFolder.of_user(config.folder, token.name)
        file = await folder.write(
            name,
            request.stream(),
            max_bytes=config.max_file_bytes,
            max_total=config.max_user_bytes,
        )
        return FileDocument(**asdict(file))

    @router.get("")
    def list_files(token: Token, config: Config) -> list[FileDocument]:
        """List the files that this user has uploaded."""
        files = UserFolder.of_user(config.folder, token.name).list_files()
        return [FileDocument(**asdict(file)) for file in files]

    @router.delete("/{name:path}", status_code=204)
    def delete_file(name: FileName, token: Submitter, config: Config) -> None:
        """Delete a file."""
        UserFolder.of_user(config.folder, token.name).remove(name)

    return router


router = APIRouter()


@router.get("/v1/hardware", tags=["service"])
def show_hardware(request: Request) -> Record:
    """Show the hardware of this instance."""
    document: Record = codec.to_json(asdict(request.app.state.studies.host))
    return document


@router.get("/v1/me", tags=["service"])
def show_token(request: Request, token: Token) -> TokenDocument:
    """Show whose token this is, and its limits."""
    used = request.app.state.studies.queue.committed_minutes(token.name)
    return TokenDocument(name=token.name, role=token.role, minutes=token.minutes, used_minutes=used)


@router.get("/v1/audit", tags=["service"])
def show_audit(
    request: Request, token: Admin, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[AuditDocument]:
    """Show the latest entries of the audit log."""
    tokens: AccessTokens = request.app.state.tokens
    return [AuditDocument(**asdict(entry)) for entry in tokens.audit(limit)]


@router.get("/health", tags=["service"])
def show_health(config: Config) -> StateDocument:
    """Whether this instance runs. The database is not asked."""
    return StateDocument(status="ok", version=__version__, workers=config.workers)


@router.get("/ready", tags=["service"])
def show_readiness(config: Config) -> StateDocument:
    """Whether this instance can take studies: its database answers and has the right schema."""
    status = check(config.storage)
    if status.state != "current":
        raise StoreUnavailableError(
            f"the schema of the database is {status.state}", hint="autotune db upgrade"
        )
    return StateDocument(
        status=status.state,
        version=__version__,
        schema_revision=status.current,
        workers=config.workers,
    )


@router.get("/metrics", tags=["service"], response_class=Response)
def show_metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(write_metrics(request.app.state.registry), media_type=CONTENT_TYPE)


@router.get("/openapi.json", tags=["service"], response_class=Response)
def show_schema(request: Request) -> Response:
    """The description of all routes."""
    return JSONResponse(request.app.openapi())


@router.get("/v1/webhooks", tags=["webhooks"])
def list_webhooks(request: Request, token: Admin) -> list[WebhookDocument]:
    """List the addresses that are told of events."""
    outbox: Outbox = request.app.state.outbox
    return [
        WebhookDocument(id=hook.id, url=hook.url, events=hook.events) for hook in outbox.webhooks()
    ]


@router.post("/v1/webhooks", status_code=201, tags=["webhooks"])
def add_webhook(request: Request, body: WebhookRequest, token: Admin) -> WebhookDocument:
    """Add an address that is told of events. The secret of its signatures is shown once."""
    for name in body.events:
        if name not in list(EventName):
            raise InvalidRequest(f"there is no event {name!r}", hint=suggest(name, list(EventName)))
    outbox: Outbox = request.app.state.outbox
    hook = outbox.add_webhook(token.name, body.url, body.events)
    return WebhookDocument(id=hook.id, url=hook.url, events=hook.events, secret=hook.secret)


@router.delete("/v1/webhooks/{webhook}", status_code=204, tags=["webhooks"])
def remove_webhook(
    request: Request, webhook: Annotated[int, PathParameter(ge=1, le=2**31 - 1)], token: Admin
) -> None:
    """Remove an address."""
    request.app.state.outbox.remove_webhook(webhook)
