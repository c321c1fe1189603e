"""Rewrites Streamlit's ``index.html`` for a faster first paint.

Streamlit's page first requests the address of its server (a 404 on a deep link such as ``/front``),
then its settings, and only then connects. Both are written into the page here, which saves two
round trips. It also loads the scripts of an element when it first draws one; the page gets preload
links for those of the heavier pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ELEMENTS: Mapping[str, Sequence[str]] = {
    "studies": ("Html", "DataFrame", "PageLink"),
    "front": ("Html", "Selectbox", "Slider", "ButtonGroup", "PageLink", "PlotlyChart"),
}
"""The elements of pages, by the names of Streamlit's files."""
_IMPORT = re.compile(r"""\b(?:from|import)\s*["']\./([\w.-]+\.js)["']""")
_IMPORT_CHARACTERS = 16_384
"""Length of the start of a script in which its imports are searched."""


class PreloadMiddleware:
    """ASGI middleware that serves the HTML of the pages and forwards all else to Streamlit.

    The first of ``pages`` is also served at ``/``.
    """

    def __init__(self, app: ASGIApp, pages: Sequence[str], origins: Sequence[str]) -> None:
        self.app = app
        self._html = {f"/{page}": index_html(origins, ELEMENTS.get(page, ())) for page in pages}
        self._html["/"] = self._html[f"/{pages[0]}"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["path"] not in self._html
            or scope["method"] not in ("GET", "HEAD")
        ):
            await self.app(scope, receive, send)
            return
        response = HTMLResponse(self._html[scope["path"]], headers={"Cache-Control": "no-cache"})
        await response(scope, receive, send)


def index_html(origins: Sequence[str], elements: Sequence[str] = ()) -> str:
    """Streamlit's page with its settings in the head, as ``_stcore/host-config`` returns them.

    The address of the server is relative to that of the page, so that it is right behind a proxy
    that adds a path. ``origins`` are Streamlit's ``client.allowedOrigins``, ``elements`` those to
    preload.
    """
    from streamlit import file_util

    static = Path(file_util.get_static_dir())
    html = (static / "index.html").read_text(encoding="utf-8")
    settings = {
        "allowedOrigins": list(origins),
        "useExternalAuthToken": False,
        "enableCustomParentMessages": False,
        "enforceDownloadInNewTab": False,
        "metricsUrl": "",
        "blockErrorDialogs": False,
        "resourceCrossOriginMode": None,
    }
    written = json.dumps(settings).replace("<", "\\u003c")
    base = 'new URL("./", location.origin + location.pathname).href'
    script = f"window.__streamlit = {{BACKEND_BASE_URL: {base}, HOST_CONFIG: {written}}}"
    links = [_link(path) for path in _files(static / "static", elements) if path.name not in html]
    html = html.replace("</head>", "\n".join([*links, "</head>"]), 1)
    return html.replace("<head>", f"<head><script>{script}</script>", 1)


def _files(static: Path, elements: Sequence[str]) -> list[Path]:
    """The styles and scripts of ``elements``, and the scripts that these import."""
    styles = [path for name in elements for path in static.glob(f"css/{name}.*.css")]
    queue = [path for name in elements for path in static.glob(f"js/{name}.*.js")]
    scripts: list[Path] = []
    while queue:
        path = queue.pop(0)
        if path not in scripts and path.is_file():
            scripts.append(path)
            with path.open(encoding="utf-8") as file:
                queue += [
                    path.with_name(name) for name in _IMPORT.findall(file.read(_IMPORT_CHARACTERS))
                ]
    return [*styles, *scripts]


def _link(path: Path) -> str:
    relation = "modulepreload" if path.suffix == ".js" else "stylesheet"
    return f'<link rel="{relation}" crossorigin href="./static/{path.parent.name}/{path.name}">'
