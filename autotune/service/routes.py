"""The routes of studies: submit, list, read, watch, change."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as PathParameter
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from autotune.analysis.records import (
    pareto_record,
    show_record,
    status_record,
    trial_records,
)
from autotune.analysis.select import find_trial_number, select_trial
from autotune.components import EXPORT_FORMATS
from autotune.domain import State
from autotune.errors import NotFoundError, SpecError
from autotune.report.write import write_report
from autotune.service.access import current_token, require_submit
from autotune.service.archive import export_archive
from autotune.service.commands import run_command
from autotune.service.documents import (
    ErrorDocument,
    InvalidRequest,
    PredictionDocument,
    PredictionRequest,
    Priority,
    Record,
    ResumeRequest,
    Setting,
    SnapshotDocument,
    StudyDocument,
    StudyList,
    SubmissionDocument,
    ValidationDocument,
)
from autotune.service.events import ChangeFeed, study_events
from autotune.service.studies import Studies
from autotune.store import codec
from autotune.store.access import AccessToken
from autotune.store.submissions import SubmissionState

router = APIRouter(prefix="/v1", tags=["studies"])

STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
StudyName = Annotated[str, PathParameter(pattern=STUDY_NAME)]
Token = Annotated[AccessToken, Depends(current_token)]
Submitter = Annotated[AccessToken, Depends(require_submit)]
Settings = Annotated[list[Setting], Query(alias="set", max_length=100)]
Word = Annotated[str, Query(max_length=500)]

STUDY_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string"}} for kind in ("application/yaml", "text/plain")
        }
        | {"application/json": {"schema": {"type": "object"}}},
    }
}
"""The study file as YAML or JSON. It is read as a whole, so that mistakes have their places."""


def studies_of(request: Request) -> Studies:
    studies: Studies = request.app.state.studies
    return studies


def feed_of(request: Request) -> ChangeFeed:
    feed: ChangeFeed = request.app.state.feed
    return feed


StudiesOf = Annotated[Studies, Depends(studies_of)]


async def study_text(request: Request) -> str:
    """The body of a request as a study file."""
    try:
        return (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the study file is not UTF-8 text (byte {error.start})") from None


@router.post("/validation", openapi_extra=STUDY_BODY)
async def validate(
    request: Request,
    token: Submitter,
    studies: StudiesOf,
    settings: Settings = [],  # noqa: B006
) -> ValidationDocument:
    """Check a study file. Nothing is stored."""
    text = await study_text(request)
    try:
        study = await run_in_threadpool(studies.validate, token.name, text, settings)
    except SpecError as error:
        return ValidationDocument(valid=False, mistakes=ErrorDocument.from_error(error).mistakes)
    return ValidationDocument(valid=True, study=study.name)


@router.post("/studies", status_code=201, openapi_extra=STUDY_BODY)
async def submit(
    request: Request,
    token: Submitter,
    studies: StudiesOf,
    settings: Settings = [],  # noqa: B006
    priority: Annotated[Priority, Query()] = 0,
) -> SubmissionDocument:
    """Submit a study file. It waits until its turn. ``set`` replaces values of the file, and the
    studies of a user with the highest ``priority`` run first."""
    text = await study_text(request)
    return await run_in_threadpool(studies.submit, token, text, settings, priority)


@router.get("/studies")
def list_studies(
    studies: StudiesOf,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    state: SubmissionState | None = None,
    owner: Annotated[str | None, Query(max_length=64)] = None,
) -> StudyList:
    """List studies, the latest first."""
    total, page = studies.list_page(limit, offset, state, owner)
    return StudyList(total=total, studies=page)


@router.get("/studies/{name}")
def show_study(name: StudyName, studies: StudiesOf) -> StudyDocument:
    """Show a study, its place in the queue, and its progress."""
    submission = studies.find(name)
    try:
        snapshot = studies.snapshot(name)
    except NotFoundError:
        return StudyDocument(submission=submission, status=None)
    search = studies.store.search_status(name)
    status = codec.to_json(status_record(snapshot.study, snapshot.trials, search=search))
    return StudyDocument(submission=submission, status=status)


@router.delete("/studies/{name}", status_code=204)
def delete_study(name: StudyName, token: Submitter, studies: StudiesOf) -> None:
    """Delete a study with all its trials."""
    studies.delete(token, name)


@router.post("/studies/{name}/stop")
def stop_study(name: StudyName, token: Submitter, studies: StudiesOf) -> SubmissionDocument:
    """Stop a study: trials that run are finished first."""
    return studies.stop(token, name)


@router.post("/studies/{name}/resume")
def resume_study(
    name: StudyName, token: Submitter, studies: StudiesOf, body: ResumeRequest | None = None
) -> SubmissionDocument:
    """Continue a study that has ended, with other settings if needed."""
    return studies.resume(token, name, {} if body is None else body.settings)


@router.get(
    "/studies/{name}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def watch_study(
    request: Request,
    name: StudyName,
    studies: StudiesOf,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None,
) -> StreamingResponse:
    """Watch a study as Server-Sent Events, from its first trial or after the header
    ``Last-Event-ID``, until it has ended."""
    await run_in_threadpool(studies.find, name)
    events = study_events(feed_of(request), name, int(last_event_id or 0))
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.get("/studies/{name}/trials")
def list_trials(name: StudyName, studies: StudiesOf, state: State | None = None) -> list[Record]:
    """List the trials of a study, like ``autotune trials --json``."""
    snapshot = studies.snapshot(name)
    selected = [t for t in snapshot.trials if state is None or t.state is state]
    records: list[Record] = codec.to_json(trial_records(snapshot, selected))
    return records


@router.get("/studies/{name}/trials/{trial}")
def show_trial(
    name: StudyName, trial: Annotated[str, PathParameter(max_length=500)], studies: StudiesOf
) -> Record:
    """Show a trial by its number or as ``knee``, like ``autotune show --json``."""
    snapshot = studies.snapshot(name)
    number = find_trial_number(snapshot.study, snapshot.trials, trial)
    full = studies.store.trial(name, number)
    document: Record = codec.to_json(show_record(snapshot, full))
    return document


@router.get("/studies/{name}/front")
def show_front(name: StudyName, studies: StudiesOf) -> Record:
    """Show the Pareto front, like ``autotune pareto --json``."""
    snapshot = studies.snapshot(name)
    document: Record = codec.to_json(pareto_record(snapshot.study, snapshot.trials))
    return document


@router.get("/studies/{name}/recommendation")
def show_recommendation(name: StudyName, studies: StudiesOf, pick: Word = "knee") -> Record:
    """Show the trial to use: ``knee``, ``fastest``, or ``accuracy >= 0.9 then cheapest``."""
    snapshot = studies.snapshot(name)
    trial = select_trial(snapshot.study, snapshot.trials, pick)
    (record,) = trial_records(snapshot, [trial])
    document: Record = codec.to_json({"description": snapshot.describe(trial), "trial": record})
    return document


@router.get("/studies/{name}/report", response_class=Response)
def report_study(
    name: StudyName, studies: StudiesOf, format: Literal["html", "md"] = "html"
) -> Response:
    """The study as one page."""
    snapshot = studies.snapshot(name)
    with TemporaryDirectory(prefix="autotune-report-") as folder:
        environment = studies.store.environment(name)
        curves = studies.store.curves(name) if snapshot.study.task.evaluate_every else {}
        target = Path(folder) / f"report.{format}"
        path = write_report(snapshot, environment, target, format, curves)
        kind = {"html": "text/html", "md": "text/markdown"}[format]
        return Response(path.read_bytes(), media_type=f"{kind}; charset=utf-8")


@router.get("/studies/{name}/export", response_class=Response)
def export_study(
    name: StudyName,
    studies: StudiesOf,
    trial: Word = "knee",
    to: Word = "hf-trainer",
    allow_partial: bool = False,
    all_rows: bool = False,
) -> Response:
    """A trial as a folder that a trainer runs, in a ZIP file, like ``autotune export``."""
    if to not in EXPORT_FORMATS:
        raise NotFoundError(f"no export format {to}", hint=f"one of {', '.join(EXPORT_FORMATS)}")
    snapshot = studies.snapshot(name)
    number = select_trial(snapshot.study, snapshot.trials, trial).number
    options = [f"--trial={number}", f"--to={to}"]
    options += ["--allow-partial"] * allow_partial + ["--all-rows"] * all_rows
    content = export_archive(studies.config, studies.find(name).owner, name, options)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{number}.zip"'}
    return Response(content, media_type="application/zip", headers=headers)


@router.post("/studies/{name}/predictions")
def predict(name: StudyName, studies: StudiesOf, body: PredictionRequest) -> PredictionDocument:
    """Predictions of the trained model of a trial, like ``autotune predict``. The model has to be
    kept (``keep`` in the study file)."""
    snapshot = studies.snapshot(name)
    body.require_texts(snapshot.study.task.columns)
    number = select_trial(snapshot.study, snapshot.trials, body.trial).number
    rows = "".join(json.dumps(row) + "\n" for row in body.rows)
    arguments = ["predict", name, f"--trial={number}", "--input=-"]
    output = run_command(studies.config, studies.find(name).owner, arguments, rows)
    # Not splitlines: a line separator of Unicode is part of a text.
    predictions = [json.loads(line) for line in output.split("\n") if line]
    return PredictionDocument(trial=number, predictions=predictions)


@router.get("/studies/{name}/curves")
def show_curves(name: StudyName, studies: StudiesOf) -> dict[int, list[Record]]:
    """The learning curves of the trials that reported a point, by number."""
    studies.find(name)
    try:
        curves = studies.store.curves(name)
    except NotFoundError:  # it waits
        return {}
    return {
        number: [codec.to_json(codec.point_fields(point)) for point in points]
        for number, points in curves.items()
    }


@router.get("/studies/{name}/snapshot")
def show_snapshot(name: StudyName, studies: StudiesOf) -> SnapshotDocument:
    """The study and all its trials, for clients that compute tables and figures themselves."""
    snapshot = studies.snapshot(name)
    fields = codec.study_fields(snapshot.study)
    return SnapshotDocument(
        study=fields["study"],
        spec=fields["spec"],
        trials=[codec.trial_document(trial) for trial in snapshot.trials],
        environment=codec.to_json(dict(studies.store.environment(name))),
    )


@router.get("/studies/{name}/snapshot/{number}")
def show_complete_trial(
    name: StudyName, number: Annotated[int, PathParameter(ge=0, le=2**31 - 1)], studies: StudiesOf
) -> Record:
    """One trial with everything that it recorded."""
    return codec.trial_document(studies.store.trial(name, number))
