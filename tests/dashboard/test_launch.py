"""Starting the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from autotune.errors import AutotuneError, ExecutionError, UsageError
from dashboard.launch import is_local, serve, streamlit_options


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
