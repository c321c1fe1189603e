"""A browser for tests, and a dashboard server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL, which the view in three dimensions needs, without a GPU
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MILLISECONDS = 90_000
"""Long, since a loaded machine starts a browser slowly."""

expect.set_options(timeout=TIMEOUT_MILLISECONDS)


@contextmanager
def served(
    command: Sequence[str], port: int, environment: Mapping[str, str], cwd: str | None = None
) -> Iterator[str]:
    """The address of the dashboard that ``command`` starts on ``port``."""
    process = subprocess.Popen(command, env=dict(environment), cwd=cwd)
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT_MILLISECONDS / 1000)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT_MILLISECONDS / 1000
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the server did not answer")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser a module. While it runs, the thread has an event loop."""
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may log no error and request nothing from other machines."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    tab, problems = context.new_page(), []
    tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on(
        "request",
        lambda r: (
            problems.append(f"requested {r.url}")
            if not r.url.startswith(("http://127.0.0.1", "data:", "blob:", "ws://127.0.0.1"))
            else None
        ),
    )
    yield tab
    context.close()
    assert not problems


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for what Playwright cannot wait for, such as a colour in a screenshot."""
    deadline = time.monotonic() + TIMEOUT_MILLISECONDS / 1000
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        page.wait_for_timeout(200)


def settled(page: Page) -> None:
    page.locator("h1").first.wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
