"""The HTML of the pages, with settings and preload links."""

from __future__ import annotations

import asyncio
from pathlib import Path

import streamlit

from dashboard.preload import ELEMENTS, PreloadMiddleware, index_html


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
