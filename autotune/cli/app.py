"""The application: its commands and the printing of errors. Commands import lazily."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from autotune.cli.commands import db, token
from autotune.cli.commands.compare_devices import compare_devices
from autotune.cli.commands.dashboard import dashboard
from autotune.cli.commands.deployment import bench, predict
from autotune.cli.commands.export import export, import_, verify
from autotune.cli.commands.inspect import pareto, show, status, studies, trials
from autotune.cli.commands.report import diff, report
from autotune.cli.commands.search import resume, search
from autotune.cli.commands.service import serve, stop
from autotune.cli.commands.study import hardware, init, validate
from autotune.cli.options import SERVICE, is_given
from autotune.cli.output import EXIT_INTERRUPTED, err, print_error, replace_unprintable
from autotune.errors import AutotuneError, UsageError
from autotune.version import __version__

app = typer.Typer(
    name="autotune",
    help="Find how to fine-tune your BERT: faster, cheaper, as accurate, on your own hardware.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: Sequence[Callable[..., None]] = (
    search, resume, validate, init, hardware, compare_devices, studies, status, trials, show,
    pareto, export, verify, import_, report, diff, dashboard, serve, stop,
    predict, bench,
)  # fmt: skip
for command in COMMANDS:
    app.command(command.__name__.strip("_").replace("_", "-"))(command)
app.add_typer(db.app, name="db")
app.add_typer(token.app, name="token")

REMOTE_COMMANDS = ("search", "resume", "stop", "studies", "status", "trials", "show", "pareto",
                   "export", "predict", "report", "diff")  # fmt: skip
"""Commands that work with a service."""


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"autotune {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Verbose output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print results only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
    remote: Annotated[
        str | None,
        typer.Option(
            "--remote",
            envvar="AUTOTUNE_REMOTE",
            metavar="URL",
            help=f"Service to use instead of this machine, for: {', '.join(REMOTE_COMMANDS)}. Its "
            "token is that of AUTOTUNE_TOKEN.",
        ),
    ] = None,
) -> None:
    import logging

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
    err.quiet = quiet
    context.obj = {"debug": debug}
    SERVICE.url = remote
    command = context.invoked_subcommand
    if is_given(context, "remote") and command not in REMOTE_COMMANDS:
        raise UsageError(
            f"{command} works on this machine only", hint=f"autotune {command} without --remote"
        )


def main() -> None:
    """Run the command line. Every error ends as a message and an exit code."""
    replace_unprintable()
    debug = "--debug" in sys.argv[1:]
    try:
        app()
    except AutotuneError as error:
        if debug:
            raise
        err.quiet = False
        print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if debug:
            raise
        err.print("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        if debug:
            raise
        err.quiet = False
        prefix = f"{error.filename}: " if error.filename else ""
        print_error(UsageError(f"{prefix}{error.strerror or error}", hint="check the path"))
        sys.exit(UsageError.exit_code)
    except Exception as error:
        if debug:
            raise
        err.quiet = False
        message = f"unexpected {type(error).__name__}: {error}"
        print_error(AutotuneError(message, hint="autotune --debug ... shows the traceback"))
        sys.exit(1)
