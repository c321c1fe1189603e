"""The HTML that a browser gets first, with what Streamlit's own would have to find out.

Streamlit's page asks below its own address where the server is (which is a 404 on a deep link such
as ``/front``), then asks for settings, and only then connects. Both are known here, so they are
written into the page, which saves two rounds. It also finds out only from what it is told to draw
which parts of itself it lacks; those of the heavier pages are named here from the start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PARTS: Mapping[str, Sequence[str]] = {
    "studies": ("Html", "DataFrame", "PageLink"),
    "front": ("Html", "Selectbox", "Slider", "ButtonGroup", "PageLink", "PlotlyChart"),
}
"""What pages are drawn with, by the names of Streamlit's own files."""
_IMPORT = re.compile(r"""\b(?:from|import)\s*["']\./([\w.-]+\.js)["']""")
_HEAD = 16_384
"""Characters of a script that its imports are looked for in: they stand first."""


class PreloadMiddleware:
    """ASGI middleware that answers for the pages themselves; all else goes on to Streamlit.

    The first of ``pages`` is also what the bare address shows.
    """

    def __init__(self, app: ASGIApp, pages: Sequence[str], origins: Sequence[str]) -> None:
        self.app = app
        self._html = {f"/{page}": first_page(origins, PARTS.get(page, ())) for page in pages}
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


def first_page(origins: Sequence[str], parts: Sequence[str] = ()) -> str:
    """Streamlit's own page with its settings in the head, as ``_stcore/host-config`` gives them.

    The server's address is relative to the page's own, so that it holds behind a proxy that adds a
    path. ``origins`` are Streamlit's ``client.allowedOrigins``, ``parts`` what else to fetch now.
    """
    from streamlit import file_util

    static = Path(file_util.get_static_dir())
    html = (static / "index.html").read_text(encoding="utf-8")
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
    links = [_link(path) for path in _files(static / "static", parts) if path.name not in html]
    html = html.replace("</head>", "\n".join([*links, "</head>"]), 1)
    return html.replace("<head>", f"<head><script>{script}</script>", 1)


def _files(static: Path, parts: Sequence[str]) -> list[Path]:
    """The styles and scripts of ``parts``, and the scripts that these import."""
    styles = [path for part in parts for path in static.glob(f"css/{part}.*.css")]
    wanted = [path for part in parts for path in static.glob(f"js/{part}.*.js")]
    scripts: list[Path] = []
    while wanted:
        path = wanted.pop(0)
        if path not in scripts and path.is_file():
            scripts.append(path)
            with path.open(encoding="utf-8") as file:
                wanted += [path.with_name(name) for name in _IMPORT.findall(file.read(_HEAD))]
    return [*styles, *scripts]


def _link(path: Path) -> str:
    relation = "modulepreload" if path.suffix == ".js" else "stylesheet"
    return f'<link rel="{relation}" crossorigin href="./static/{path.parent.name}/{path.name}">'
