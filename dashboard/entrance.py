"""The HTML that a browser gets first, with what Streamlit's own would have to find out.

Streamlit's page asks below its own address where the server is (which is a 404 on a deep link such
as ``/front``), then asks for settings, and only then connects. Both are known here, so they are
written into the page, which saves two rounds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Entrance:
    """ASGI middleware that answers for the pages themselves; all else goes on to Streamlit."""

    def __init__(self, app: ASGIApp, pages: Sequence[str], origins: Sequence[str]) -> None:
        self.app = app
        self._paths = {"/", *(f"/{page}" for page in pages)}
        self._html = first_page(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["path"] not in self._paths
            or scope["method"] not in ("GET", "HEAD")
        ):
            await self.app(scope, receive, send)
            return
        response = HTMLResponse(self._html, headers={"Cache-Control": "no-cache"})
        await response(scope, receive, send)


def first_page(origins: Sequence[str]) -> str:
    """Streamlit's own page with its settings in the head, as ``_stcore/host-config`` gives them.

    The server's address is relative to the page's own, so that it holds behind a proxy that adds a
    path. ``origins`` are Streamlit's ``client.allowedOrigins``.
    """
    from streamlit import file_util

    html = (Path(file_util.get_static_dir()) / "index.html").read_text(encoding="utf-8")
    known = {
        "allowedOrigins": list(origins),
        "useExternalAuthToken": False,
        "enableCustomParentMessages": False,
        "enforceDownloadInNewTab": False,
        "metricsUrl": "",
        "blockErrorDialogs": False,
        "resourceCrossOriginMode": None,
    }
    written = json.dumps(known).replace("<", "\\u003c")
    base = 'new URL("./", location.origin + location.pathname).href'
    script = f"window.__streamlit = {{BACKEND_BASE_URL: {base}, HOST_CONFIG: {written}}}"
    return html.replace("<head>", f"<head><script>{script}</script>", 1)
