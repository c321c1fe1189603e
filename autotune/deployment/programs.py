"""The programs of exported folders: predictions for a file, and a server.

They need only NumPy, ``tokenizers`` and the runtime.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn, TextIO

from autotune.deployment.artifact import Artifact, read_artifact
from autotune.deployment.pipeline import Pipeline, Row, describe_cut, make_pipeline
from autotune.deployment.predictor import Predictor, Session
from autotune.deployment.serving import PredictionServer
from autotune.errors import AutotuneError, DataError

OpenSession = Callable[[Path, Artifact, int | None], AbstractContextManager[Session]]

STANDARD_STREAM = "-"


def predict(
    open_session: OpenSession, folder: Path, arguments: Sequence[str] | None = None
) -> NoReturn:
    """Predict the rows of a file with the artifact in ``folder``, and end the process."""
    parser = argparse.ArgumentParser(
        prog="predict.py", description='Predict rows like {"text": "..."}, one on each line.'
    )
    parser.add_argument("--input", default=STANDARD_STREAM, help="JSON Lines; - for stdin")
    parser.add_argument("--output", default=STANDARD_STREAM, help="JSON Lines; - for stdout")
    parser.add_argument("--threads", type=int, help="default: those of the trial")
    options = parser.parse_args(arguments)
    with _errors_as_text(), open_pipeline(folder, options.threads, open_session) as pipeline:
        with _stream(options.input, "r") as file:
            rows = read_rows(file, options.input)
        predictions = pipeline.predict(rows)
        with _stream(options.output, "w") as file:
            for prediction in predictions:
                file.write(json.dumps(prediction, ensure_ascii=False) + "\n")
        if note := describe_cut(predictions):
            sys.stderr.write(f"note: {note}\n")
    sys.exit(0)


def serve(
    open_session: OpenSession, folder: Path, arguments: Sequence[str] | None = None
) -> NoReturn:
    """Serve the artifact in ``folder`` until the process is told to stop."""
    parser = argparse.ArgumentParser(
        prog="server.py", description="Serve the model in this folder over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all interfaces")
    parser.add_argument("--port", type=int, default=8000, help="0 for a free port")
    parser.add_argument("--threads", type=int, help="default: those of the trial")
    parser.add_argument("--address-file", type=Path, help="receives host and port, as JSON")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        _errors_as_text(),
        PredictionServer((options.host, options.port)) as server,
    ):
        host, port = server.server_address[:2]
        sys.stderr.write(f"listening on http://{host!s}:{port}\n")
        if options.address_file is not None:
            options.address_file.write_text(json.dumps({"host": host, "port": port}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_pipeline(folder, options.threads, open_session) as pipeline:
            pipeline.predict([pipeline.encoder.example_row])
            server.pipeline = pipeline
            signal.pause()
    sys.exit(0)


@contextmanager
def open_pipeline(
    folder: Path, threads: int | None, open_session: OpenSession
) -> Iterator[Pipeline]:
    """The artifact in ``folder``, loaded to run on ``threads`` threads (``None``: as many as in its
    description)."""
    artifact = read_artifact(folder)
    with open_session(folder, artifact, threads or artifact.threads) as session:
        yield make_pipeline(folder, Predictor(artifact, session))


def read_rows(file: TextIO, name: str) -> list[Row]:
    """The rows of a JSON Lines file. Raises :class:`DataError` with the number of a line that is no
    object."""
    rows: list[Row] = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(
                f"{name}:{number}: not a JSON object", hint='each line is like {"text": "..."}'
            )
        rows.append(row)
    return rows


@contextmanager
def _stream(name: str, mode: str) -> Iterator[TextIO]:
    if name == STANDARD_STREAM:
        yield sys.stdin if mode == "r" else sys.stdout
        return
    with Path(name).open(mode, encoding="utf-8") as file:
        yield file  # type: ignore[misc]


@contextmanager
def _errors_as_text() -> Iterator[None]:
    """End the process with a message instead of a traceback for what the user can correct."""
    try:
        yield
    except AutotuneError as error:
        sys.stderr.write(f"error: {error.message}\n{f'hint: {error.hint}' if error.hint else ''}\n")
        sys.exit(error.exit_code)
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
