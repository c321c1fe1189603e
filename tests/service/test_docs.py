"""The commands of docs/service.md, run against a service whose drivers replay recorded trials."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune.store.access import Role
from tests.service.conftest import (
    STUDY,
    Service,
    make_config,
    running_service,
    write_landscape,
)

FOLDER = Path(__file__).parents[2] / "docs"
PAGE = (FOLDER / "service.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "study.yaml").write_text(STUDY.replace("study: hills", "study: sentiment"))
    (folder / "train.jsonl").write_text('{"text": "good", "label": "yes"}\n')
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with running_service(make_config(folder, workers=1)) as service:
        with service.client(Role.ADMIN) as client:
            client.upload(write_landscape(folder))
        yield service


@pytest.fixture(scope="module")
def answers(service: Service, folder: Path) -> dict[str, str]:
    """The output of every command of the page, in order."""
    environment = {**os.environ, "URL": service.url, "TOKEN": service.tokens[Role.ADMIN]}
    outputs = {}
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=250, check=False,
        )  # fmt: skip
        if "/predictions" in command:  # a replay trains no model
            assert "was not kept" in done.stdout
            continue
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.setdefault(command.partition("$URL")[2].strip('"').split("?")[0], done.stdout)
    return outputs


@pytest.mark.timeout(600)
def test_every_command_works(answers: dict[str, str], folder: Path) -> None:
    events = re.findall(r"^event: (\w+)$", answers["/v1/studies/sentiment/events"], re.MULTILINE)
    assert events[0] == "state" and events[-1] == "end" and events.count("trial") >= 6
    assert json.loads(answers["/v1/studies/sentiment/front"])["front"]
    assert len(json.loads(answers["/v1/studies/sentiment/snapshot"])["trials"]) >= 6
    assert "sentiment" in (folder / "report.md").read_text()
    with zipfile.ZipFile(folder / "export.zip") as archive:
        assert archive.testzip() is None and archive.namelist()
    assert 'autotune_studies{state="done"}' in answers["/metrics"]
    audit = [entry["action"] for entry in json.loads(answers["/v1/audit"])]
    assert "DELETE /v1/studies/sentiment" in audit


def test_every_route_has_a_command(service: Service) -> None:
    schema: dict[str, Any] = service.app.openapi()
    described = {
        (method.upper(), path) for path in schema["paths"] for method in schema["paths"][path]
    }
    patterns = {
        (method, path): re.compile(re.sub(r"\{\w+(:path)?\}", "[^/]+", path) + r"$")
        for method, path in described
    }
    used = {
        route
        for method, path in map(method_and_path, COMMANDS)
        for route, pattern in patterns.items()
        if route[0] == method and pattern.match(path)
    }
    assert used == described


def method_and_path(command: str) -> tuple[str, str]:
    words = shlex.split(command)
    path = next(word for word in words if word.startswith("$URL"))
    explicit = words[words.index("-X") + 1] if "-X" in words else None
    method = "PUT" if "-T" in words else "POST" if {"--json", "--data-binary"} & {*words} else "GET"
    return explicit or method, path.removeprefix("$URL").split("?")[0]


def test_monitoring_files_name_figures_that_exist(answers: dict[str, str]) -> None:
    dashboard = json.loads((FOLDER / "service" / "grafana.json").read_text())
    expressions = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    names = {name for text in expressions for name in re.findall(r"(?:autotune|process)_\w+", text)}
    families = set(re.findall(r"^# TYPE (\w+)", answers["/metrics"], re.MULTILINE))
    assert {re.sub(r"_bucket$", "", name) for name in names} <= families
    prometheus = yaml.safe_load((FOLDER / "service" / "prometheus.yml").read_text())
    assert prometheus["scrape_configs"][0]["authorization"]["type"] == "Bearer"
