"""The dashboard in a real browser."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sample_studies as samples
from browsing import TIMEOUT_MILLISECONDS, free_port, served, settled, wait_until
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Browser, Page, TimeoutError, expect

from autotune.domain import Completed
from autotune.store import open_store

ARTIFACTS = ROOT / "artifacts"
DRAGS, DRAG_MILLISECONDS = 5, 20_000
DRAWING_MILLISECONDS = 2_000
"""The table of selected trials follows before the figure, which shows nothing of being redrawn."""
SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from dashboard.launch import serve
from dashboard import exporting

def write_files(storage, study, number, target, folder):
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(f"print({{number}})")

exporting.run_export = write_files
serve({storage!r}, port={port})
"""


@pytest.fixture(scope="module")
def server(storage: str) -> Iterator[str]:
    port = free_port()
    code = SERVER.format(root=str(ROOT), storage=storage, port=port)
    environment = {**os.environ, "HOME": str(Path(storage.removeprefix("sqlite:///")).parent)}
    with served([sys.executable, "-c", code], port, environment) as address:
        yield address


def test_front_is_drawn_clicked_and_filtered(page: Page, server: str) -> None:
    page.goto(f"{server}/front?study=complete")
    page.locator(".js-plotly-plot .scatterlayer .point").first.wait_for()
    settled(page)
    _click_front_point(page)
    page.wait_for_url(re.compile(r"trial=\d"))
    assert "study=complete" in page.url
    assert page.get_by_text("hidden by the filters").count() == 0
    page.get_by_role("slider").first.press("PageUp")
    page.get_by_text("hidden by the filters").wait_for()
    page.get_by_text("All details").click()
    page.get_by_role("heading", name="Measurements").wait_for()
    page.wait_for_url(re.compile(r"/trial\?.*trial=\d"))


def _click_front_point(page: Page) -> None:
    """Click a point of the front, at the position that Plotly reports, until its trial is shown: a
    figure that is being replaced takes no click."""

    def is_shown() -> bool:
        page.mouse.click(*_front_point(page))
        with suppress(TimeoutError):
            page.get_by_text("All details").wait_for(timeout=15_000)
            return True
        return False

    wait_until(page, is_shown)


def _front_point(page: Page) -> tuple[float, float]:
    x, y = page.evaluate(
        """() => {
            const plot = document.querySelector('.js-plotly-plot');
            const trace = plot.data.find(t => t.name === 'front' && t.customdata);
            const axes = plot._fullLayout;
            const values = v => Array.isArray(v) || ArrayBuffer.isView(v) ? v : v._inputArray;
            const box = plot.getBoundingClientRect();
            return [box.left + axes.xaxis._offset + axes.xaxis.l2p(values(trace.x)[0]),
                    box.top + axes.yaxis._offset + axes.yaxis.l2p(values(trace.y)[0])];
        }"""
    )
    return x, y


def test_filters_are_in_the_address(page: Page, server: str) -> None:
    page.goto(f"{server}/front?study=complete")
    settled(page)
    page.get_by_role("slider").first.press("PageUp")  # one key: each is a run of the page
    caption = page.get_by_text("hidden by the filters").inner_text()
    page.wait_for_url("**at-train_samples_per_second=**")
    page.reload()
    expect(page.get_by_text("hidden by the filters")).to_have_text(caption)


def test_three_dimensions_are_drawn(page: Page, server: str) -> None:
    page.goto(f"{server}/front?study=complete&solid=true")
    plot = page.locator(".js-plotly-plot")
    plot.locator(".gl-container canvas").first.wait_for()
    settled(page)
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / "test-front-3d.png"

    def is_drawn() -> bool:
        plot.screenshot(path=str(path))
        with Image.open(path) as picture:
            colours = picture.convert("RGB").crop((60, 120, 560, 500)).getcolors(500 * 380)
        return colours is not None and len(colours) > 100

    wait_until(page, is_drawn)


def test_export_is_downloaded(page: Page, server: str, tmp_path: Path) -> None:
    page.goto(f"{server}/export?study=complete&choice=fastest")
    settled(page)
    page.get_by_text("autotune export complete").wait_for()
    page.get_by_role("button", name="Write the files").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as zip").click()
    target = tmp_path / "out.zip"
    download.value.save_as(target)
    names = zipfile.ZipFile(target).namelist()
    assert len(names) == 1 and names[0].endswith("-hf-trainer/train.py")


def test_table_is_downloaded_as_csv(page: Page, server: str, tmp_path: Path) -> None:
    page.goto(f"{server}/trials?study=complete")
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    download.value.save_as(tmp_path / "trials.csv")
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("trial,state,verdict") and len(lines) == 46


def test_trials_are_selected_on_axes(page: Page, server: str) -> None:
    """A box over the best half of an axis, then one over another axis."""
    page.goto(f"{server}/trials?study=complete")
    page.locator(".js-plotly-plot .scatterlayer .point").first.wait_for()
    settled(page)
    counts = [45]
    for row in (10, 11):  # training speed, accuracy
        counts.append(select_on_axis(page, row, counts[-1]))
    assert counts[0] > counts[1] > counts[2] > 0
    page.get_by_role("button", name="Clear the selection").click()
    page.get_by_text("45 of 45 trials.").wait_for()


def select_on_axis(page: Page, row: int, before: int) -> int:
    """Draw a box over the best half of the axis in ``row``, until other than ``before`` trials are
    selected: a figure that is being replaced takes no drag. Returns their number."""
    for _ in range(DRAGS):
        page.wait_for_timeout(DRAWING_MILLISECONDS)
        left, right, top, bottom = page.evaluate(
            """(row) => {
                const plot = document.querySelector('.js-plotly-plot');
                const {xaxis, yaxis} = plot._fullLayout;
                const box = plot.getBoundingClientRect();
                const x = value => box.left + xaxis._offset + xaxis.l2p(value);
                const y = value => box.top + yaxis._offset + yaxis.l2p(value);
                plot.scrollIntoView();
                const moved = plot.getBoundingClientRect().top - box.top;
                return [x(0.5), x(1.2), y(row - 0.35) + moved, y(row + 0.35) + moved];
            }""",
            row,
        )
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move(right, bottom, steps=5)
        page.mouse.up()
        with suppress(AssertionError):
            unchanged = page.get_by_text(f"{before} of 45 trials.")
            expect(unchanged).to_have_count(0, timeout=DRAG_MILLISECONDS)
            settled(page)
            return int(page.get_by_text("of 45 trials. Select a row").inner_text().split()[0])
    raise AssertionError(f"no trial was selected on the axis in row {row}")


def test_study_follows_from_page_to_page(page: Page, server: str) -> None:
    page.goto(f"{server}/front?study=single")
    settled(page)
    page.get_by_role("link", name="Levers").click()
    page.get_by_role("heading", name="Importance of the levers").wait_for()
    page.wait_for_url("**/levers?*study=single*")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_fit_their_width(browser: Browser, server: str, width: int, scheme: str) -> None:
    """No page scrolls horizontally. Keeps screenshots to look at."""
    ARTIFACTS.mkdir(exist_ok=True)
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    tab = context.new_page()
    for name in ("front", "trial") if width == 390 else ("front",):
        tab.goto(f"{server}/{name}?study=complete")
        settled(tab)
        tab.locator(".js-plotly-plot .main-svg").first.wait_for()
        tab.wait_for_function(f"document.documentElement.scrollWidth <= {width}")
        tab.screenshot(path=str(ARTIFACTS / f"test-{name}-{width}-{scheme}.png"))
    context.close()


def test_running_search_is_refreshed(browser: Browser, server: str, storage: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    tab = context.new_page()
    tab.goto(f"{server}/search?study=running")
    settled(tab)
    tab.get_by_text("Trial 24, preparing").wait_for()
    writer = open_store(storage)
    trial = next(iter(samples.trials(writer.study("running"), 1, seed=3)))
    writer.finish("running", 24, Completed(trial.result))
    tab.get_by_text("Trial 24, preparing").wait_for(state="detached")
    expect(tab.get_by_text("Trial 25, preparing")).to_have_count(1)
    writer.close()
    context.close()
