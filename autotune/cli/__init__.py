"""The command line: parse, wire, print. Start with :func:`main`."""

from autotune.cli.app import main

__all__ = ["main"]
