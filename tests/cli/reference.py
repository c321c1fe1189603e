"""The reference of the command line, generated from the commands.

``python -m tests.cli.reference`` prints it; ``docs/cli.md`` holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from autotune.cli.app import app

HEAD = """\
# Command line

Generated from the commands with `python -m tests.cli.reference > docs/cli.md`; a test compares the
two. Every command that reads takes `--json` and then prints one document on stdout, and everything
else on stderr. Exit codes: 0 success, 1 a run failed, 2 wrong input, 130 interrupted.
`AUTOTUNE_STORAGE` sets the default of `--storage`, `AUTOTUNE_RUNS` the directory of logs (`runs`),
and `AUTOTUNE_CACHE` that of prepared data.
"""


def text() -> str:
    command = typer.main.get_command(app)
    return "\n".join([HEAD, *_pages(command, "autotune")])


def _pages(command: Any, name: str) -> Iterator[str]:
    yield f"## `{name}`\n"
    yield f"{(command.help or '').strip()}\n"
    rows = list(_rows(command))
    if rows:
        yield "| argument or option | meaning |\n|---|---|"
        yield from rows
        yield ""
    for child in getattr(command, "commands", {}).values():
        yield from _pages(child, f"{name} {child.name}")


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.name in ("install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            name = parameter.metavar or str(parameter.name).upper()
        else:
            name = ", ".join([*parameter.opts, *parameter.secondary_opts])
        meaning = str(getattr(parameter, "help", "") or "").replace("|", "\\|")
        yield f"| `{name}` | {meaning} |"


if __name__ == "__main__":
    sys.stdout.write(text())
