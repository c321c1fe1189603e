"""Names and reasons come from data and libraries: none can control the terminal."""

from __future__ import annotations

import io
import json

import pytest
from rich.live import Live
from rich.text import Text

from autotune.cli import output
from autotune.cli.layout import Column, Listing, Row
from autotune.cli.output import PrintableConsole, print_json

ATTACKS = ["\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "a\rb", "\u202eabc", "\x08\x08", "\x7f"]


def console(*, terminal: bool = False) -> tuple[PrintableConsole, io.StringIO]:
    stream = io.StringIO()
    return PrintableConsole(file=stream, force_terminal=terminal, width=80), stream


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_printed_controls_the_terminal(attack: str) -> None:
    printer, stream = console()
    printer.print(attack, markup=False)
    printer.print(Text(attack), style="red")
    printer.print(Listing([Column(attack)], [Row([attack], [attack])], title=attack))
    printer.print(f"[bold]error:[/] {attack}", soft_wrap=True)
    text = stream.getvalue()
    assert text.strip()
    assert not any(c in text for c in attack if not c.isprintable())


def test_styles_and_live_displays_still_work() -> None:
    printer, stream = console(terminal=True)
    printer.print(Text("name\x1b[2J", style="bold red"))
    assert stream.getvalue() == "\x1b[1;31mname[2J\x1b[0m\n"
    with Live(Text("one"), console=printer, auto_refresh=False) as live:
        live.update(Text("two"), refresh=True)
    assert "\x1b[2K" in stream.getvalue()


def test_consoles_of_the_commands_print_no_control_characters() -> None:
    assert isinstance(output.out, PrintableConsole) and isinstance(output.err, PrintableConsole)


@pytest.mark.parametrize("attack", [*ATTACKS, "\ud83d", "é \U0001f600 \n\t"])
def test_json_is_escaped_and_unchanged(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": attack})
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": attack}
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode()
