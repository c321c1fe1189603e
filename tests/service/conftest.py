"""A service that answers on a free port of this machine and runs no studies by itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from autotune.client import Client
from autotune.domain import TrialOrigin
from autotune.execution.replay.benchmark import write
from autotune.service.app import create_app
from autotune.service.config import ServiceConfig
from autotune.store import open_store
from autotune.store.access import AccessTokens, Role
from tests.execution.synthetic_benchmark import SPEC, synthetic_benchmark
from tests.tuner.small_study import completed, small_study

STUDY = SPEC.replace("{trials: 100}", "{trials: 4, minutes: 30}") + (
    "executor: {kind: replay, landscape: hills.parquet}\n"
)
"""A study that replays recorded trials."""


@dataclass(frozen=True)
class Service:
    """A running service, and a token of each role."""

    url: str
    app: FastAPI
    config: ServiceConfig
    tokens: dict[Role, str]

    def client(self, role: Role = Role.SUBMIT) -> Client:
        return Client(self.url, self.tokens[role])

    def http(self, role: Role | None = Role.SUBMIT) -> httpx.Client:
        headers = {} if role is None else {"Authorization": f"Bearer {self.tokens[role]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)


def make_config(folder: Path, **settings: object) -> ServiceConfig:
    values: dict[str, object] = {"workers": 0, "poll_seconds": 0.05, **settings}
    storage = f"sqlite:///{folder / 'autotune.db'}"
    return ServiceConfig(storage, folder / "data", **values)  # type: ignore[arg-type]


@contextmanager
def running_service(config: ServiceConfig) -> Iterator[Service]:
    """The service in a thread, until the end of the context."""
    app = create_app(config)
    access = AccessTokens(config.storage)
    tokens = {role: access.create(role.value, role) for role in Role}
    access.close()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", app, config, tokens)
        finally:
            server.should_exit = True
            thread.join()


def store_study(storage: str) -> str:
    """Store a study with two complete trials, as if it was searched without the service."""
    store, study = open_store(storage), small_study()
    store.create_study(study, {"hardware": {}, "packages": {}})
    fast = study.baseline.with_values(precision="bf16")
    for strategy, origin in ((study.baseline, TrialOrigin.DEFAULT), (fast, TrialOrigin.SAMPLED)):
        trial = store.start(study.name, strategy, origin=origin, seed=0)
        store.finish(study.name, trial.number, completed(strategy))
    store.close()
    return study.name


def write_landscape(folder: Path) -> Path:
    path = folder / "hills.parquet"
    write(synthetic_benchmark(), path)
    return path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a stored study ``small``, and with the data of the study ``hills``."""
    folder = tmp_path_factory.mktemp("service")
    config = make_config(folder)
    store_study(config.storage)
    with running_service(config) as service:
        with service.client() as client:
            client.upload(write_landscape(folder))
        yield service
