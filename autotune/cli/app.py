"""The commands, and how their errors reach a person. Heavy imports wait inside the commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autotune import __version__
from autotune.cli.commands import actions, compare_devices, inspect, search, study
from autotune.cli.output import err, print_error
from autotune.errors import AutotuneError, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="autotune",
    help="Find how to fine-tune your BERT: faster, cheaper, as accurate, on your own hardware.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for module in (search, study, compare_devices, inspect, actions):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autotune {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print results only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
) -> None:
    import logging

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
    err.quiet = quiet
    context.obj = {"debug": debug}


def main() -> None:
    """Run the command line; every error leaves as words and an exit code."""
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
        sys.exit(INTERRUPTED)
    except OSError as error:
        if debug:
            raise
        err.quiet = False
        place = f"{error.filename}: " if error.filename else ""
        print_error(UsageError(f"{place}{error.strerror or error}", hint="is the path right?"))
        sys.exit(UsageError.exit_code)
    except Exception as error:
        if debug:
            raise
        err.quiet = False
        message = f"unexpected {type(error).__name__}: {error}"
        print_error(AutotuneError(message, hint="autotune --debug ... shows where it came from"))
        sys.exit(1)
