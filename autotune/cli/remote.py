"""Searches on a service: submit, print the progress like that of a search here, then the front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from autotune.cli.output import EXIT_INTERRUPTED, err, info
from autotune.domain import State
from autotune.errors import AutotuneError, NotFoundError, UsageError

if TYPE_CHECKING:
    from autotune.analysis.snapshot import Snapshot
    from autotune.client import Client, StudyEvent


def search_remotely(client: Client, path: Path, overrides: Sequence[str]) -> None:
    """Submit a study file with its data, or continue the study of this name; watch it to its end,
    and print the front."""
    from autotune.spec.overrides import read_overrides

    for name in client.upload_data(path, settings=overrides):
        info(f"uploaded {name}")
    name = client.validate(path, overrides)
    try:
        submission = client.study(name)["submission"]
    except NotFoundError:
        client.submit(path, settings=overrides)
        info(f"study {name} waits for its turn at {client.url}")
    else:
        _require_own(client, submission)
        info(f"study {name} is {submission['state']}")
        if submission["state"] not in ("queued", "running"):
            info("it continues with the file that was submitted first, and --set")
            client.resume(name, read_overrides(overrides))
        elif new := [text for text in overrides if text not in submission["settings"]]:
            raise UsageError(
                f"study {name} is {submission['state']}: {new[0]} cannot be set now",
                hint=f"leave it out, or first: autotune --remote {client.url} stop {name}",
            )
    _watch(client, name)


def _require_own(client: Client, submission: Mapping[str, Any]) -> None:
    """Check that a study is the user's own: names such as that of a bundled file are common."""
    if submission["owner"] != client.whoami()["name"]:
        raise UsageError(
            f"study {submission['study']} of {submission['owner'] or 'nobody'} exists already",
            hint="search yours under another name: --study NAME",
        )


def resume_remotely(client: Client, name: str, overrides: Sequence[str]) -> None:
    """Continue a study of the service, watch it to its end, and print the front."""
    from autotune.spec.overrides import read_overrides

    client.resume(name, read_overrides(overrides))
    _watch(client, name)


def _watch(client: Client, name: str) -> None:
    """Print the progress of a study until it ends, then its front."""
    from autotune.cli.front import print_front, print_next_steps

    try:
        end = _print_progress(client, name, client.watch(name))
    except KeyboardInterrupt:
        err.print(
            f"the service goes on with {name}; stop it with: "
            f"autotune --remote {client.url} stop {name}",
            style="yellow",
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    info(f"search ended: {end['reason'] or end['state']}")
    if end["state"] == "failed":
        raise AutotuneError(
            str(end["reason"]), hint=f"autotune --remote {client.url} trials {name}"
        )
    try:
        snapshot = client.snapshot(name)
    except NotFoundError:  # it was stopped before it started
        return
    print_front(snapshot)
    print_next_steps(snapshot, remote=client.url)


def _print_progress(client: Client, name: str, events: Iterable[StudyEvent]) -> dict[str, Any]:
    """Print trials as they start and end; returns the document of the last event."""
    from autotune.cli.live import LiveView

    view: LiveView | None = None
    with ExitStack() as stack:  # whatever ends it, the terminal has its cursor again
        for event in events:
            if event.name == "end":
                return event.data
            if event.name == "trial":
                view = view or stack.enter_context(LiveView(_empty(client.snapshot(name))))
                trial = client.trial(name, event.data["number"])
                if trial.state is State.RUNNING:
                    view.started(trial)
                elif trial.state.is_finished:
                    view.finished(trial)
    raise AutotuneError(f"the service ended the events of {name} without its end")


def _empty(snapshot: Snapshot) -> Snapshot:
    """The study without its trials, which the events bring."""
    from autotune.analysis.snapshot import Snapshot

    return Snapshot(snapshot.study, ())
