"""Text, password, live studies, launch and plots of the dashboard."""

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
from dashboard.front_figure import front_figure
from dashboard.front_traces import View
from dashboard.launch import is_local, serve, streamlit_options
from dashboard.live import LiveStudy
from dashboard.password import (
    MAX_ATTEMPTS,
    MAX_TOTAL_ATTEMPTS,
    WINDOW_SECONDS,
    PasswordGate,
    PasswordHash,
    read_password,
    visitor_id,
)
from dashboard.preload import ELEMENTS, PreloadMiddleware, index_html
from dashboard.text import escape_markdown
from dashboard.views.studies import _state

MARKUP = '<img src=x onerror="alert(1)"> **bold** [x](javascript:1)'


def test_text_is_escaped() -> None:
    assert "<" not in wrapped_label(MARKUP).replace("<br>", "") and "<" not in one_line_label(
        MARKUP
    )
    assert (
        "\\<img" in escape_markdown(MARKUP)
        and "\\*\\*bold" in escape_markdown(MARKUP)
        and "\\[x\\]" in escape_markdown(MARKUP)
    )
    assert wrapped_label("a" * 130).count("<br>") == 2


def test_figures_escape_names_of_users() -> None:
    study = samples.study("x")
    trials = list(samples.trials(study, 6))
    bad = replace(trials[1], strategy=Strategy({**trials[1].strategy.values, "precision": MARKUP}))
    snapshot = Snapshot(study, [trials[0], bad, *trials[2:]])
    view = View(Axis(samples.SPEED), Axis(samples.ACCURACY), None, [bad], [], [trials[0]])
    assert "<img" not in str(front_figure(snapshot, view).to_json()).replace("\\u003c", "<")


def test_front_figure_shows_intervals_default_and_reasons() -> None:
    study = samples.study("x")
    trials = list(samples.trials(study, 6))
    reason = Infeasible(FailureReason.OUT_OF_MEMORY, "needs 9 GiB")
    trials.append(replace(trials[5], number=6).finish(reason, samples.START))
    snapshot = Snapshot(study, trials)
    view = View(
        Axis(samples.SPEED, default=trials[0].metric(samples.SPEED), log=True),
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


def test_password_is_hashed_and_rate_limited() -> None:
    moment = [0.0]
    gate = PasswordGate("correct horse", clock=lambda: moment[0])
    assert b"correct horse" not in PasswordHash.from_password("correct horse").digest
    for _ in range(MAX_ATTEMPTS):
        assert not gate.accepts("wrong")
    assert gate.wait_seconds() == WINDOW_SECONDS
    assert not gate.accepts("correct horse")
    moment[0] = WINDOW_SECONDS
    assert gate.accepts("correct horse")


def test_attacker_does_not_lock_out_others() -> None:
    moment = [0.0]
    gate = PasswordGate("correct horse", clock=lambda: moment[0])
    for _ in range(MAX_ATTEMPTS):
        assert not gate.accepts("wrong", "203.0.113.9")
    assert not gate.accepts("correct horse", "203.0.113.9")
    assert gate.wait_seconds("203.0.113.9") == WINDOW_SECONDS
    assert gate.wait_seconds("203.0.113.10") == 0 == gate.wait_seconds(None)
    assert gate.accepts("correct horse", "203.0.113.10")


def test_attempts_from_many_addresses_are_limited_in_total() -> None:
    gate = PasswordGate("correct horse", clock=lambda: 0.0)
    addresses = [f"198.51.100.{n}" for n in range(MAX_TOTAL_ATTEMPTS)]
    gate._hash = NeverMatches()  # type: ignore[assignment]
    for address in addresses:
        assert gate.wait_seconds(address) == 0 and not gate.accepts("wrong", address)
    assert gate.wait_seconds("203.0.113.9") == WINDOW_SECONDS
    assert len(gate._wrong) == MAX_TOTAL_ATTEMPTS


class NeverMatches:
    """A hash that no password matches, without the time that a real one takes."""

    def matches(self, password: str) -> bool:
        return False


def test_visitors_are_identified_by_network_address() -> None:
    assert visitor_id("2001:db8::1") == visitor_id("2001:db8::ffff") != visitor_id("2001:db8:1::1")
    assert visitor_id("::ffff:192.0.2.7") == visitor_id("192.0.2.7") != visitor_id("192.0.2.8")
    assert visitor_id(None) != visitor_id("testclient")


def test_index_html_has_settings_and_preload_links() -> None:
    sent: list[dict[str, object]] = []

    async def streamlit_app(scope: object, receive: object, _send: object) -> None:
        sent.append({"body": b"forwarded"})

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    middleware = PreloadMiddleware(
        streamlit_app, ["trial", "front"], ["https://a.example/</script>"]
    )

    def get(path: str, method: str = "GET") -> str:
        sent.clear()
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        asyncio.run(middleware(scope, None, send))  # type: ignore[arg-type]
        return bytes(sent[-1]["body"]).decode()  # type: ignore[call-overload]

    own = (Path(streamlit.__file__).parent / "static" / "index.html").read_text()
    assert get("/") == get("/trial") not in (own, get("/front"))
    assert "BACKEND_BASE_URL" in get("/front") and "a.example" in get("/front")
    assert get("/front").count("</script>") == own.count("</script>") + 1
    for path in ("/_stcore/health", "/static/js/x.js", "/nosuch", "/front/x"):
        assert get(path) == "forwarded"
    for files in ELEMENTS.values():
        assert all(f'href="./static/js/{name}.' in index_html([], files) for name in files)
    assert get("/front", "POST") == "forwarded"


def test_password_is_required_and_has_a_minimum_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTUNE_DASHBOARD_PASSWORD", raising=False)
    with pytest.raises(UsageError, match="needs a password"):
        read_password()
    assert read_password(lambda _: "from a prompt") == "from a prompt"
    monkeypatch.setenv("AUTOTUNE_DASHBOARD_PASSWORD", "from outside")
    assert read_password(lambda _: "unused") == "from outside"
    with pytest.raises(UsageError, match="at least 8"):
        PasswordGate("short")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False),
     ("192.168.1.4", False), ("example.org", False), ("::", False), ("", False)],
)  # fmt: skip
def test_local_addresses(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_serving_other_machines_needs_a_password(
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


def test_server_sends_no_statistics_and_watches_no_files() -> None:
    options = streamlit_options("127.0.0.1", 8501)
    assert options["browser.gatherUsageStats"] is False
    assert options["server.fileWatcherType"] == "none"
    assert options["server.address"] == "127.0.0.1"


def test_live_study_reads_only_changes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    writer = open_store(url)
    study = samples.study("live")
    writer.create_study(study, {})
    reader = open_store(url, read_only=True)
    live = LiveStudy(reader, "live")
    assert live.refresh().trials == []
    trial = writer.start("live", study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    snapshot = live.refresh()
    assert [t.number for t in snapshot.trials] == [0] and live.revision == 1
    assert live.refresh() is snapshot and live.revision == 1
    writer.finish("live", trial.number, Completed(TrialResult()))
    assert live.refresh().trials[0].state.is_finished and live.revision == 2
    with pytest.raises(StoreUnavailableError):
        reader.enqueue("live", study.baseline, origin=TrialOrigin.SAMPLED, seed=0)


def test_study_counts_as_running_between_trials(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'between.db'}")
    study = samples.study("between")
    samples.write(store, study, list(samples.trials(study, 3)))
    (overview,) = store.studies_overview()
    assert _state(overview, 0.5) == "stopped" and _state(overview, 1.0) == "done"
    assert _state(replace(overview, changed_at=datetime.now(UTC)), 0.5) == "running"


def test_readers_do_not_block_a_running_search(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'busy.db'}"
    writer = open_store(url)
    study = samples.study("busy")
    samples.write(writer, study, list(samples.trials(study, 30)))
    reader = open_store(url, read_only=True)
    with reader._database.transaction() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM trials").scalar_one()
        trial = writer.start("busy", study.baseline, origin=TrialOrigin.SAMPLED, seed=0)
        writer.finish("busy", trial.number, Completed(TrialResult()))
        count = connection.exec_driver_sql("SELECT count(*) FROM trials").scalar_one()
    assert count == 30
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
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
