"""The compose file, the manifest and the commands of docs/cluster.md, checked without Docker."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer.main
import yaml
from pydantic import BaseModel, ConfigDict, Field

from autotune.cli.app import app

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cluster.md"
CLI: Any = typer.main.get_command(app)
SUBCOMMANDS = {"autotune": {*CLI.commands}, "ray": {"start", "stop", "get-auth-token"}}


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Dependency(StrictModel):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Healthcheck(StrictModel):
    test: list[str] = Field(min_length=2)
    interval: Annotated[str, Field(pattern=r"^\d+(ms|s|m)$")]
    retries: int


class Build(StrictModel):
    context: str
    dockerfile: str


class MountedConfig(StrictModel):
    source: str
    target: Annotated[str, Field(pattern="^/")]


class Config(StrictModel):
    file: str


class Secret(StrictModel):
    environment: str


class Service(StrictModel):
    """The part of the compose specification that this file uses."""

    image: str
    profiles: list[str] = []
    build: Build | None = None
    command: list[str] = []
    environment: dict[str, str] = {}
    volumes: list[Annotated[str, Field(pattern=r"^[a-z]+:/")]] = []
    ports: list[Annotated[str, Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    shm_size: str | None = None
    configs: list[MountedConfig] = []
    secrets: list[str] = []


class Compose(StrictModel):
    name: str
    shared: Any = Field(alias="x-autotune")
    services: dict[str, Service]
    configs: dict[str, Config]
    secrets: dict[str, Secret]
    volumes: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def compose() -> Compose:
    return Compose.model_validate(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_compose_has_what_a_cluster_needs(compose: Compose) -> None:
    names = {"database", "head", "worker", "service", "prometheus", "dashboard"}
    assert compose.services.keys() == names
    assert all((ROOT / config.file).is_file() for config in compose.configs.values())
    for service in compose.services.values():
        for other, dependency in service.depends_on.items():
            assert other in compose.services
            if dependency.condition == "service_healthy":
                assert compose.services[other].healthcheck
        assert {volume.split(":")[0] for volume in service.volumes} <= compose.volumes.keys()
        assert {config.source for config in service.configs} <= compose.configs.keys()
        assert {*service.secrets} <= compose.secrets.keys()
        if service.build:
            assert (ROOT / service.build.dockerfile).is_file()


def test_no_password_is_written_down(compose: Compose) -> None:
    for service in compose.services.values():
        for name, value in service.environment.items():
            if "PASSWORD" in name or "@" in value:
                password = "POSTGRES_PASSWORD" if "@" in value else name
                assert f"${{{password}:?" in value


def test_the_dashboard_can_start_before_any_search(compose: Compose) -> None:
    """The dashboard is reached from outside its container and needs the tables of the database."""
    dashboard = compose.services["dashboard"]
    assert dashboard.environment.keys() > compose.services["head"].environment.keys()
    assert "AUTOTUNE_DASHBOARD_PASSWORD" in dashboard.environment
    assert [words[1:3] for words in commands_of_service(dashboard.command)] == [
        ["db", "upgrade"],
        ["dashboard", "--host"],
    ]


def test_the_page_sets_what_the_compose_file_requires() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    exported = set(re.findall(r"^export (\w+)=", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert required <= exported


@pytest.mark.parametrize(
    "block", re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
)
def test_field_recipes_start_ray_with_a_token(block: str) -> None:
    if "ray start" in block:
        before = block.split("ray start")[0]
        assert "export RAY_AUTH_MODE=token" in before
        assert "RAY_AUTH_TOKEN=" in before or "ray get-auth-token --generate" in before


def test_field_services_and_pods_authenticate(compose: Compose) -> None:
    for name in ("head", "worker"):
        environment = compose.services[name].environment
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
    text = (ROOT / "docs" / "cluster" / "kuberay.yaml").read_text()
    assert list(yaml.safe_load_all(text))[1]["spec"]["authOptions"] == {"mode": "token"}


def documented_commands() -> Iterator[list[str]]:
    """Commands of the page's shell blocks and of the compose file."""
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield from commands_in_line(line)
    for service in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values():
        yield from commands_of_service(service.get("command", []))


def commands_of_service(words: list[str]) -> Iterator[list[str]]:
    """The commands of a service, directly or through ``sh -c``."""
    yield from commands_in_line(words[2] if words[:2] == ["sh", "-c"] else shlex.join(words))


def commands_in_line(line: str) -> Iterator[list[str]]:
    for part in line.split("&&"):
        words = shlex.split(part, comments=True)
        for index, (program, subcommand) in enumerate(pairwise(words)):
            if subcommand in SUBCOMMANDS.get(program, ()):
                yield words[index:]


@cache
def options_of_ray_start() -> set[str]:
    """Read in a separate process, because the module imports all of Ray."""
    code = (
        "from ray.scripts.scripts import start; print(*(n for p in start.params for n in p.opts))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def options(words: list[str]) -> set[str]:
    program, subcommand, *rest = words
    if program == "ray":
        return options_of_ray_start() if subcommand == "start" else {"--generate"}
    command = CLI.commands[subcommand]
    if hasattr(command, "commands"):
        command = command.commands[rest[0]]
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("words", list(documented_commands()), ids=" ".join)
def test_commands_accept_their_options(words: list[str]) -> None:
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= options(words)


def test_the_page_shows_commands() -> None:
    assert len(list(documented_commands())) >= 8


def test_the_manifest_is_a_ray_cluster() -> None:
    text = (ROOT / "docs" / "cluster" / "kuberay.yaml").read_text()
    volume_claim, manifest = yaml.safe_load_all(text)
    assert (volume_claim["apiVersion"], volume_claim["kind"]) == ("v1", "PersistentVolumeClaim")
    assert volume_claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
    for group in groups:
        spec = group["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        claimed = {volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]}
        assert claimed == {volume_claim["metadata"]["name"]}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["limits"]["cpu"]
        assert {f"--{name}" for name in group["rayStartParams"]} <= options_of_ray_start()
    labels = [group["rayStartParams"]["labels"] for group in groups[1:]]
    assert labels == [f"node-class={group['groupName']}" for group in groups[1:]]
