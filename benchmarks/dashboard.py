"""Speed of the dashboard with a study of 10,000 trials, measured in a real browser.

Prints one JSON document: seconds until the front is drawn (first and later views), milliseconds
from a change to the redrawn plot, resident memory of the server, seconds to list 100 studies, and
for comparison seconds until a page shows only its title. Run it on an idle machine.

    python benchmarks/dashboard.py [--trials 10000] [--studies 100]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import sample_studies as samples
from playwright.sync_api import BrowserContext, Page, sync_playwright

from autotune.store import open_store

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET = "--disable-background-networking --disable-component-update --disable-sync"
VISIT_MILLISECONDS = 4_000
LIMITS = {
    "first_view_seconds": 2.0,
    "interaction_milliseconds": 500.0,
    "server_memory_mb": 500.0,
    "list_of_studies_seconds": 1.0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--studies", type=int, default=100)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="autotune-dashboard-") as folder:
        url = f"sqlite:///{Path(folder) / 'studies.db'}"
        _fill(url, options.trials, options.studies)
        with _server(url) as (address, process), _browser() as browser:
            results = _measure(browser, address)
            memory = psutil.Process(process.pid).memory_info().rss / 1e6
    results["server_memory_mb"] = round(memory, 1)
    results["within_limits"] = {name: results[name] <= limit for name, limit in LIMITS.items()}
    results |= {"trials": options.trials, "studies": options.studies}
    print(json.dumps(results, indent=2))


def _fill(url: str, trials: int, studies: int) -> None:
    store = open_store(url)
    for number in range(studies - 1):
        study = samples.study(f"study-{number:03d}")
        samples.write(store, study, list(samples.trials(study, 24, seed=number)))
    big = samples.study("big", trials=trials)
    samples.write(store, big, list(samples.trials(big, trials)))
    store.close()


def _measure(browser: BrowserContext, address: str) -> dict[str, object]:
    cold = _seconds_to_front(browser, f"{address}/front?study=study-000")
    not_loaded = _seconds_to_front(browser, f"{address}/front?study=big")
    for url in (f"{address}/front?study=big", address) * 2:
        _visit(browser, url)
    views = [_seconds_to_front(browser, f"{address}/front?study=big") for _ in range(5)]
    title_only = [_seconds_to(browser, f"{address}/compare", "h1") for _ in range(5)]
    return {
        "bare_page_seconds": round(statistics.median(title_only), 3),
        "cold_server_seconds": round(cold, 3),
        "study_read_for_the_first_time_seconds": round(not_loaded, 3),
        "first_view_seconds": round(statistics.median(views), 3),
        "interaction_milliseconds": round(_interaction(browser, address), 1),
        "list_of_studies_seconds": round(
            statistics.median(_seconds_to_list(browser, address) for _ in range(5)), 3
        ),
    }


def _seconds_to_front(browser: BrowserContext, url: str) -> float:
    return _seconds_to(browser, url, ".js-plotly-plot .scatterlayer .point")


def _seconds_to_list(browser: BrowserContext, address: str) -> float:
    return _seconds_to(browser, address, "[data-testid=stDataFrame] canvas")


def _seconds_to(browser: BrowserContext, url: str, selector: str) -> float:
    """Seconds from the request to an element on the screen."""
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(selector).first.wait_for(timeout=60_000)
    seconds = time.perf_counter() - start
    page.close()
    return seconds


def _visit(browser: BrowserContext, url: str) -> None:
    """Visit a page long enough for Chromium to keep the compiled JavaScript."""
    page = browser.new_page()
    page.goto(url)
    page.locator("h1").first.wait_for(timeout=60_000)
    page.wait_for_timeout(VISIT_MILLISECONDS)
    page.close()


def _interaction(browser: BrowserContext, address: str) -> float:
    """Median milliseconds from a change of a filter or an axis to the redrawn plot."""
    page = browser.new_page()
    page.goto(f"{address}/front?study=big")
    page.locator(".js-plotly-plot .scatterlayer .point").first.wait_for(timeout=60_000)
    _wait_until_idle(page)
    times = []
    page.get_by_role("slider").first.focus()
    for _ in range(5):
        times.append(_until_redrawn(page, lambda: page.keyboard.press("PageUp")))
    for axis in ("accuracy", "training speed", "accuracy", "training speed"):
        box = page.get_by_role("combobox", name="Across")
        box.click()
        option = page.get_by_role("option", name=axis, exact=True)
        option.wait_for()
        times.append(_until_redrawn(page, option.click))
    page.close()
    return statistics.median(times)


def _wait_until_idle(page: Page) -> None:
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.wait_for_timeout(1_000)


def _until_redrawn(page: Page, act: Callable[[], None]) -> float:
    """Milliseconds from ``act`` to the last change of the plot that it causes."""
    page.evaluate(
        """() => {
            window.redrawn = null; window.start = null;
            const drawn = node => node instanceof Element &&
                (node.closest('.scatterlayer') || node.querySelector('.scatterlayer'));
            window.observer?.disconnect();
            window.observer = new MutationObserver(changes => {
                if (changes.some(c => drawn(c.target) || [...c.addedNodes].some(drawn)))
                    window.redrawn = performance.now();
            });
            window.observer.observe(document.body, {subtree: true, childList: true});
            const setStart = () => { window.start ??= performance.now(); };
            document.addEventListener('keydown', setStart, {capture: true, once: true});
            document.addEventListener('mousedown', setStart, {capture: true, once: true});
        }"""
    )
    act()
    page.wait_for_function("window.redrawn !== null", timeout=20_000)
    _wait_until_idle(page)
    return float(page.evaluate("window.redrawn - window.start"))


@contextmanager
def _server(url: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from dashboard.launch import serve; "
    code += f"serve({url!r}, port={port})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=dict(os.environ), stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/_stcore/health")
        yield address, process
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the server did not answer")


@contextmanager
def _browser() -> Iterator[BrowserContext]:
    """A browser with a profile on disk. Private windows, the default of tests, keep no compiled
    JavaScript between visits."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with TemporaryDirectory(prefix="autotune-profile-") as profile, sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            profile, executable_path=path, args=[*FLAGS, *QUIET.split()],
            viewport={"width": 1280, "height": 900}, bypass_csp=True,
        )  # fmt: skip
        yield context
        context.close()


if __name__ == "__main__":
    main()
