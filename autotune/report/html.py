"""A report as one HTML page that contains its styles and the plotting library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from autotune.report.blocks import Block, Command, Figure, Heading, Paragraph, Table

STYLE = """
:root { color-scheme: light; --ink: #24292f; --pale: #57606a; --line: #d8dee4; --blue: #0072B2; }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  max-width: 1080px; margin: 0 auto; padding: 32px 24px 80px; background: #fff; }
h1 { font-size: 28px; margin: 0 0 12px; }
h2 { font-size: 20px; margin: 44px 0 12px; padding-bottom: 6px;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 15px; margin: 24px 0 0; color: var(--pale); font-weight: 600; }
p { max-width: 78ch; margin: 0 0 12px; }
.wide { overflow-x: auto; margin: 12px 0 20px; }
table { border-collapse: collapse; font-size: 13.5px; width: 100%; }
th { text-align: left; color: var(--pale); font-weight: 600; vertical-align: bottom; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); }
td { vertical-align: top; min-width: 22ch; overflow-wrap: break-word; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { min-width: 7ch; white-space: nowrap; }
td:first-child { min-width: 0; white-space: nowrap; }
pre { background: #f6f8fa; border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px;
  overflow-x: auto; font-size: 13px; }
figure { margin: 8px 0 20px; }
figcaption { color: var(--pale); font-size: 13px; }
nav { font-size: 13.5px; margin: 0 0 20px; }
nav a { color: var(--blue); text-decoration: none; margin-right: 18px; }
summary { cursor: pointer; color: var(--blue); }
@media (max-width: 640px) {
  body { padding: 20px 14px 48px; }
  td { min-width: 30ch; } td:first-child { min-width: 9ch; white-space: normal; }
  td.n, td.n:first-child { min-width: 0; }
  figure { overflow-x: auto; } figure > div { min-width: 760px; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 12px; }
  nav { display: none; }
  h2 { break-after: avoid; } figure, tr { break-inside: avoid; } table { font-size: 10.5px; }
  td.n { white-space: normal; }
}
"""


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """The document. Text from the study is escaped."""
    from plotly.offline import get_plotlyjs

    body = "\n".join(_blocks(blocks))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _blocks(blocks: Sequence[Block]) -> Iterable[str]:
    titles = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    for number, block in enumerate(blocks):
        yield _block(block, number)
        if isinstance(block, Heading) and block.level == 1:
            links = "".join(f'<a href="#{_anchor(t)}">{escape(t)}</a>' for t in titles)
            yield f"<nav>{links}</nav>"


def _block(block: Block, number: int) -> str:
    match block:
        case Heading(text, level):
            return f'<h{level} id="{_anchor(text)}">{escape(text)}</h{level}>'
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Command(text):
            return f"<pre>{escape(text)}</pre>"
        case Table():
            return _table(block)
        case Figure(figure, description):
            plot = figure.to_html(
                full_html=False,
                include_plotlyjs=False,
                div_id=f"figure-{number}",
                config={"displaylogo": False, "responsive": True, "displayModeBar": False},
            )
            caption = f"<figcaption>{escape(description)}</figcaption>"
            return f'<figure role="img" aria-label="{escape(description)}">{plot}{caption}</figure>'


def _anchor(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())


def _table(table: Table) -> str:
    head = _row("th", table.head, table.numbers)
    rows = "\n".join(_row("td", row, table.numbers) for row in table.rows)
    content = f'<div class="wide"><table><thead>{head}</thead>\n<tbody>{rows}</tbody></table></div>'
    if not table.folded:
        return content
    return f"<details><summary>{len(table.rows)} rows</summary>{content}</details>"


def _row(tag: str, cells: Sequence[str], numbers: frozenset[int]) -> str:
    tags = [f'<{tag} class="n">' if n in numbers else f"<{tag}>" for n in range(len(cells))]
    content = (f"{start}{escape(text)}</{tag}>" for start, text in zip(tags, cells, strict=True))
    return f"<tr>{''.join(content)}</tr>"
