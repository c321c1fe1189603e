"""Commands about trained models: ``predict bench``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotune.cli.options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    open_client,
    reading_store,
    runs_directory,
)
from autotune.cli.output import err, info, out, print_json

if TYPE_CHECKING:
    from autotune.cli.layout import Listing
    from autotune.deployment.load import LoadResult
    from autotune.deployment.pipeline import Prediction, Row


def predict(
    study: StudyArgument,
    input_file: Annotated[
        typer.FileText,
        typer.Option("--input", encoding="utf-8", help='Rows like {"text": "..."}; - for stdin.'),
    ],
    trial: Annotated[
        str, typer.Option(help="A number, knee, fastest, most-accurate, cheapest or a condition.")
    ] = "knee",
    storage: StorageOption = None,
) -> None:
    """Predict texts with the trained model of one trial, deployed as the trial deployed it."""
    from autotune.deployment.pipeline import describe_cut
    from autotune.deployment.programs import read_rows

    rows = read_rows(input_file, input_file.name)
    predictions: Sequence[Mapping[str, Any]]
    if (client := open_client()) is not None:
        with client:
            predictions = client.predict(study, rows, trial=trial)
    else:
        predictions = _predict_here(study, rows, trial, storage)
    for prediction in predictions:
        print_json(prediction, indent=None)
    if note := describe_cut(predictions):
        info(note)


def _predict_here(
    study: str, rows: Sequence[Row], trial: str, storage: str | None
) -> Sequence[Prediction]:
    from autotune.analysis.select import select_trial
    from autotune.execution.local import LocalExecutor
    from autotune.export.prediction import predict_rows
    from autotune.export.trained import trained_model_folder

    with reading_store(storage) as store:
        target = store.study(study)
        trials = store.trials(study)
    selected = select_trial(target, trials, trial)
    model = trained_model_folder(target, trials, selected, runs_directory())
    executor = LocalExecutor()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="autotune-predict-") as scratch,
            err.status(f"predicting with trial {selected.number}"),
        ):
            return executor.call(
                predict_rows, target, selected.strategy, model, rows, Path(scratch)
            )
    finally:
        executor.close()


def bench(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An exported model.")],
    concurrency: Annotated[
        str, typer.Option(help="Numbers of clients that send requests at the same time.")
    ] = "1,2,4,8,16",
    seconds: Annotated[float, typer.Option(min=0.1, help="Duration for each number.")] = 5.0,
    input_file: Annotated[
        typer.FileText | None,
        typer.Option(
            "--input",
            encoding="utf-8",
            help="Rows to send; default: those of the validation split.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the server; default: of the trial.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure the latency of an exported model under load, over HTTP on this machine."""
    from autotune.deployment.load import measure_load, running_server
    from autotune.deployment.programs import read_rows
    from autotune.export.artifact_rows import (
        require_exported_runtime,
        require_rows,
        validation_rows,
    )

    counts = _parse_counts(concurrency)
    rows = validation_rows(directory) if input_file is None else read_rows(input_file, "--input")
    require_rows(rows)
    require_exported_runtime(directory)
    results = []
    with err.status("starting the server"), running_server(directory, threads) as address:
        for count in counts:
            results.append(measure_load(address, rows, count, seconds))
    if json:
        print_json([asdict(result) for result in results])
    else:
        out.print(load_listing(results))


def load_listing(results: Sequence[LoadResult]) -> Listing:
    """A row a number of clients: rate and latency of requests of one text."""
    from autotune.cli.layout import Column, Listing, Row

    columns = [Column(name) for name in ("clients", "requests/s", "p50 ms", "p95 ms", "p99 ms")]
    rows = [
        Row([str(r.concurrency), f"{r.requests_per_second:.1f}",
             f"{r.p50_ms:.2f}", f"{r.p95_ms:.2f}", f"{r.p99_ms:.2f}"])
        for r in results
    ]  # fmt: skip
    return Listing(columns, rows, caption="requests of one row over HTTP, without a pause")


def _parse_counts(text: str) -> list[int]:
    """The numbers in ``--concurrency``."""
    from autotune.errors import UsageError

    words = text.split(",")
    if not all(word.strip().isdecimal() and 0 < int(word) <= 1024 for word in words):
        raise UsageError(f"--concurrency {text} is not a list of numbers", hint="1,2,4,8,16")
    return [int(word) for word in words]
