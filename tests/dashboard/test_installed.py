"""The installed wheel, outside of the repository, with a study in PostgreSQL and a real browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sample_studies as samples
from browsing import free_port, served, settled
from conftest import ROOT
from playwright.sync_api import Page

from autotune.store import open_store
from tests.store.postgres_server import postgres_server, postgres_url  # noqa: F401
from tests.test_wheel import installed, wheel  # noqa: F401


def test_wheel_shows_a_study_in_postgresql(
    page: Page,
    installed: Path,  # noqa: F811
    postgres_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    store = open_store(postgres_url)
    study = samples.study("far")
    samples.write(store, study, list(samples.trials(study, 12, running=1)))
    store.close()
    port = free_port()
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]; "
        "from autotune.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "dashboard", "--port", str(port)]
    environment = {
        **os.environ, "PYTHONPATH": str(installed), "HOME": str(tmp_path),
        "AUTOTUNE_STORAGE": postgres_url,
    }  # fmt: skip
    with served(command, port, environment, cwd=str(tmp_path)) as address:
        page.goto(f"{address}/front?study=far")
        page.locator(".js-plotly-plot .scatterlayer .point").first.wait_for()
        settled(page)
        assert page.get_by_text("trials on the front").count() == 1
        page.goto(f"{address}/search?study=far")
        page.get_by_text("Trial 12, preparing").wait_for()
