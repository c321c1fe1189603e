"""The application: routes, access, errors, and what runs in the background."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from autotune.errors import (
    AutotuneError,
    ExpressionError,
    MissingExtraError,
    NotFoundError,
    SpecError,
    StoreError,
    UsageError,
)
from autotune.service import routes, system_routes
from autotune.service.access import AccessMiddleware, Forbidden
from autotune.service.commands import Busy
from autotune.service.config import MIB, ServiceConfig
from autotune.service.dispatcher import Dispatcher
from autotune.service.documents import ErrorDocument, InvalidRequest, TooLarge
from autotune.service.events import ChangeFeed
from autotune.service.metrics import RequestMetrics, StoreCollector, make_registry
from autotune.service.monitor import Monitor
from autotune.service.studies import open_studies
from autotune.service.webhooks import WebhookSender
from autotune.store.access import AccessTokens
from autotune.store.outbox import Outbox
from autotune.version import __version__

log = logging.getLogger(__name__)

MAX_BODY_BYTES = MIB
"""Of a study file or another document. Files of data have a limit of their own."""

STATUS_OF_ERRORS: tuple[tuple[type[AutotuneError], HTTPStatus], ...] = (
    (Forbidden, HTTPStatus.FORBIDDEN),
    (SpecError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ExpressionError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidRequest, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (MissingExtraError, HTTPStatus.NOT_IMPLEMENTED),
    (UsageError, HTTPStatus.CONFLICT),
    (Busy, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The status of an answer by the kind of the error; the first that fits."""

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status.value: {"model": ErrorDocument}
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.NOT_IMPLEMENTED,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}


def create_app(config: ServiceConfig) -> FastAPI:
    """The application of one instance. Its database is opened, and created if needed; drivers
    start with the application and end with it."""
    studies, tokens = open_studies(config), AccessTokens(config.storage)
    outbox, registry = Outbox(config.storage), make_registry()
    dispatcher, feed = Dispatcher(config, studies.queue), ChangeFeed(studies)
    monitor, sender = Monitor(config, studies, outbox), WebhookSender(config, outbox)
    registry.register(StoreCollector(studies, dispatcher, feed, outbox))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        feed.start()
        for service in (dispatcher, monitor, sender):
            service.start()
        yield
        for service in (dispatcher, monitor, sender):
            await run_in_threadpool(service.stop)
        await feed.stop()
        for resource in (studies.queue, studies.store, tokens, outbox):
            resource.close()

    app = FastAPI(
        title="autotune",
        version=__version__,
        summary="Submit studies, watch them, and read their results.",
        lifespan=lifespan,
        docs_url=None,  # the page loads scripts from another site
        redoc_url=None,
        openapi_url=None,  # a route that needs a token serves it
        max_body_size=MAX_BODY_BYTES,
        responses=ERROR_RESPONSES,
    )
    app.state.config, app.state.studies, app.state.tokens = config, studies, tokens
    app.state.feed, app.state.outbox, app.state.registry = feed, outbox, registry
    app.add_middleware(
        AccessMiddleware, config=config, tokens=tokens, observe=RequestMetrics(registry).observe
    )
    app.include_router(routes.router)
    app.include_router(system_routes.make_file_router(config.max_file_bytes))
    app.include_router(system_routes.router)
    _add_error_handlers(app)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(AutotuneError)
    async def answer_error(request: Request, error: AutotuneError) -> Response:
        for kind, status in STATUS_OF_ERRORS:
            if isinstance(error, kind):
                return _answer(status, ErrorDocument.from_error(error))
        log.error("%s", error.message)
        return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorDocument.from_error(error))

    @app.exception_handler(RequestValidationError)
    async def answer_invalid(request: Request, error: RequestValidationError) -> Response:
        problems = [
            f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors()
        ]
        document = ErrorDocument(error="; ".join(problems), hint="GET /openapi.json")
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, document)

    @app.exception_handler(HTTPException)
    async def answer_status(request: Request, error: HTTPException) -> Response:
        document = ErrorDocument(error=str(error.detail), hint="GET /openapi.json")
        return _answer(error.status_code, document, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def answer_nobody(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # an upload has broken off

    @app.exception_handler(Exception)
    async def answer_unexpected(request: Request, error: Exception) -> Response:
        log.error("unexpected error", exc_info=error)
        document = ErrorDocument(error=f"unexpected {type(error).__name__}")
        return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, document)


def _answer(status: int, document: ErrorDocument, headers: object = None) -> Response:
    content = document.model_dump(mode="json")
    return JSONResponse(content, status, headers=headers)  # type: ignore[arg-type]
