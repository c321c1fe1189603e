"""The parts beneath the pages: text, password, feed, launching, figures."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import plotly.graph_objects as go
import pytest
import sample_studies as samples
import streamlit
from conftest import ROOT

from autotune.analysis.snapshot import Snapshot
from autotune.domain import Completed, FailureReason, Infeasible, Strategy, TrialOrigin, TrialResult
from autotune.errors import AutotuneError, ExecutionError, StoreUnavailableError, UsageError
from autotune.report.axes import Axis
from autotune.report.labels import one_line_label, wrapped_label
from autotune.store import open_store
from dashboard.front_figure import View, front_figure
from dashboard.launch import is_local, options, serve
from dashboard.live import LiveStudy
from dashboard.password import (
    ATTEMPTS,
    ATTEMPTS_OF_ALL,
    WINDOW_SECONDS,
    Hash,
    PasswordGate,
    from_environment,
    visitor,
)
from dashboard.preload import PARTS, PreloadMiddleware, first_page
from dashboard.text import escape_markdown
from dashboard.views.studies import _state

NASTY = '<img src=x onerror="alert(1)"> **bold** [x](javascript:1)'


def test_text_is_never_read_as_markup() -> None:
    assert "<" not in wrapped_label(NASTY).replace("<br>", "") and "<" not in one_line_label(NASTY)
    assert "\\<img" in escape_markdown(NASTY) and "\\*\\*bold" in escape_markdown(NASTY) and "\\[x\\]" in escape_markdown(NASTY)
    assert wrapped_label("a" * 130).count("<br>") == 2


def test_figures_escape_what_users_named() -> None:
    asked = samples.study("x")
    made = list(samples.trials(asked, 6))
    bad = replace(made[1], strategy=Strategy({**made[1].strategy.values, "precision": NASTY}))
    snapshot = Snapshot(asked, [made[0], bad, *made[2:]])
    view = View(Axis(samples.SPEED), Axis(samples.ACCURACY), None, [bad], [], [made[0]])
    assert "<img" not in str(front_figure(snapshot, view).to_json()).replace("\\u003c", "<")


def test_front_figure_shows_intervals_default_and_reasons() -> None:
    asked = samples.study("x")
    made = list(samples.trials(asked, 6))
    reason = Infeasible(FailureReason.OUT_OF_MEMORY, "needs 9 GiB")
    made.append(replace(made[5], number=6).finished(reason, samples.START))
    snapshot = Snapshot(asked, made)
    view = View(
        Axis(samples.SPEED, default=made[0].metric(samples.SPEED), log=True),
        Axis(samples.ACCURACY), Axis(samples.COST), [], [], snapshot.front,
        suggested=snapshot.knee,
    )  # fmt: skip
    figure = front_figure(snapshot, view)
    traces = {trace.name: trace for trace in figure.data if trace.x and trace.x[0] is not None}
    assert traces["default"].x[0] == pytest.approx(1.0)
    assert figure.layout.xaxis.type == "log"
    assert any(traces["95% interval"].error_y.array)
    steps = figure.to_dict()["layout"]["coloraxis"]["colorscale"]
    assert [steps[0][0], steps[-1][0]] == [0, 1], "plotly.js ignores a bare list of colours"
    lane = next(trace for trace in figure.data if trace.y and trace.y[0] == "infeasible")
    assert "needs 9 GiB" in lane.hovertext[0] and isinstance(lane, go.Scatter)


def test_password_is_hashed_and_guessed_slowly() -> None:
    moment = [0.0]
    lock = PasswordGate("correct horse", clock=lambda: moment[0])
    assert b"correct horse" not in Hash.of("correct horse").digest
    for _ in range(ATTEMPTS):
        assert not lock.opens("wrong")
    assert lock.wait_seconds() == WINDOW_SECONDS
    assert not lock.opens("correct horse")
    moment[0] = WINDOW_SECONDS
    assert lock.opens("correct horse")


def test_one_who_guesses_keeps_nobody_else_out() -> None:
    moment = [0.0]
    lock = PasswordGate("correct horse", clock=lambda: moment[0])
    for _ in range(ATTEMPTS):
        assert not lock.opens("wrong", "203.0.113.9")
    assert not lock.opens("correct horse", "203.0.113.9")
    assert lock.wait_seconds("203.0.113.9") == WINDOW_SECONDS
    assert lock.wait_seconds("203.0.113.10") == 0 == lock.wait_seconds(None)
    assert lock.opens("correct horse", "203.0.113.10")


def test_guesses_from_many_addresses_have_a_common_end() -> None:
    lock = PasswordGate("correct horse", clock=lambda: 0.0)
    monkeys = [f"198.51.100.{n}" for n in range(ATTEMPTS_OF_ALL)]
    lock._hash = Never()  # type: ignore[assignment]
    for address in monkeys:
        assert lock.wait_seconds(address) == 0 and not lock.opens("wrong", address)
    assert lock.wait_seconds("203.0.113.9") == WINDOW_SECONDS
    assert len(lock._wrong) == ATTEMPTS_OF_ALL


class Never:
    """A hash that nothing matches, without the time that a real one takes."""

    def matches(self, password: str) -> bool:
        return False


def test_visitors_are_told_apart_by_network_address() -> None:
    assert visitor("2001:db8::1") == visitor("2001:db8::ffff") != visitor("2001:db8:1::1")
    assert visitor("::ffff:192.0.2.7") == visitor("192.0.2.7") != visitor("192.0.2.8")
    assert visitor(None) != visitor("testclient")


def test_the_first_page_says_where_the_server_is() -> None:
    sent: list[dict[str, object]] = []

    async def elsewhere(scope: object, receive: object, send: object) -> None:
        sent.append({"body": b"passed on"})

    async def keep(message: dict[str, object]) -> None:
        sent.append(message)

    entrance = PreloadMiddleware(elsewhere, ["trial", "front"], ["https://a.example/</script>"])

    def get(path: str, method: str = "GET") -> str:
        sent.clear()
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        asyncio.run(entrance(scope, None, keep))  # type: ignore[arg-type]
        return bytes(sent[-1]["body"]).decode()  # type: ignore[call-overload]

    own = (Path(streamlit.__file__).parent / "static" / "index.html").read_text()
    assert get("/") == get("/trial") not in (own, get("/front"))
    assert "BACKEND_BASE_URL" in get("/front") and "a.example" in get("/front")
    assert get("/front").count("</script>") == own.count("</script>") + 1
    for path in ("/_stcore/health", "/static/js/x.js", "/nosuch", "/front/x"):
        assert get(path) == "passed on"
    for files in PARTS.values():
        assert all(f'href="./static/js/{name}.' in first_page([], files) for name in files)
    assert get("/front", "POST") == "passed on"


def test_password_has_to_be_there_and_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTUNE_DASHBOARD_PASSWORD", raising=False)
    with pytest.raises(UsageError, match="needs a password"):
        from_environment()
    assert from_environment(lambda _: "from a prompt") == "from a prompt"
    monkeypatch.setenv("AUTOTUNE_DASHBOARD_PASSWORD", "from outside")
    assert from_environment(lambda _: "unused") == "from outside"
    with pytest.raises(UsageError, match="at least 8"):
        PasswordGate("short")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False),
     ("192.168.1.4", False), ("example.org", False), ("::", False), ("", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_serving_others_without_a_password_is_refused(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOTUNE_DASHBOARD_PASSWORD", raising=False)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="needs a password"):
        serve(storage, host="0.0.0.0")


def test_serving_checks_storage_and_port_first(storage: str, tmp_path: Path) -> None:
    with pytest.raises(AutotuneError, match="no autotune storage"):
        serve(f"sqlite:///{tmp_path / 'missing.db'}")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ExecutionError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(storage, port=port)


def test_server_sends_nothing_out_and_watches_nothing() -> None:
    flags = options("127.0.0.1", 8501, open_browser=False)
    assert flags["browser.gatherUsageStats"] is False
    assert flags["server.fileWatcherType"] == "none"
    assert flags["server.address"] == "127.0.0.1"


def test_feed_fetches_only_what_is_new(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    writer = open_store(url)
    asked = samples.study("live")
    writer.create_study(asked, {})
    reader = open_store(url, read_only=True)
    feed = LiveStudy(reader, "live")
    assert feed.refresh().trials == []
    begun = writer.start("live", asked.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    seen = feed.refresh()
    assert [t.number for t in seen.trials] == [0] and feed.revision == 1
    assert feed.refresh() is seen and feed.revision == 1
    writer.finish("live", begun.number, Completed(TrialResult()))
    assert feed.refresh().trials[0].state.finished and feed.revision == 2
    with pytest.raises(StoreUnavailableError):
        reader.enqueue("live", asked.baseline, origin="x", seed=0)


def test_a_study_counts_as_running_while_its_search_thinks(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'thinks.db'}")
    asked = samples.study("thinks")
    samples.write(store, asked, list(samples.trials(asked, 3)))
    (overview,) = store.studies_overview()
    assert _state(overview, 0.5) == "stopped" and _state(overview, 1.0) == "done"
    assert _state(replace(overview, changed_at=datetime.now(UTC)), 0.5) == "running"


def test_readers_do_not_hold_up_a_running_search(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'busy.db'}"
    writer = open_store(url)
    asked = samples.study("busy")
    samples.write(writer, asked, list(samples.trials(asked, 30)))
    reader = open_store(url, read_only=True)
    with reader._database.transaction() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM trials").scalar_one()
        begun = writer.start("busy", asked.baseline, origin="x", seed=0)
        writer.finish("busy", begun.number, Completed(TrialResult()))
        still = connection.exec_driver_sql("SELECT count(*) FROM trials").scalar_one()
    assert still == 30
    assert len(reader.trials("busy")) == 31


def test_starts_without_torch_or_ray(storage: str) -> None:
    code = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "ray", "transformers"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {str(ROOT)!r})
from dashboard import settings
settings.configure(settings.Settings({storage!r}))
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
for page in ("", "front", "levers", "export"):
    app = AppTest.from_file({str(ROOT / "dashboard" / "main.py")!r}, default_timeout=60)
    app._page_hash = calc_hash(page) if page else ""
    app.query_params["study"] = "complete"
    app.run()
    assert not app.exception, app.exception
    assert app.title, page
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
