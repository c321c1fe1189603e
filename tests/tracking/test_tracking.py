"""Trackers: what they write is read back with the library of each service, without a network."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import CurvePoint, State, Trial
from autotune.errors import UsageError
from autotune.tracking import TRACKERS, CompositeObserver, TrackerGroup
from autotune.tracking.base import front_markdown
from benchmarks import sample_studies

STUDY = sample_studies.study("sample")
TRIALS = [t for t in sample_studies.trials(STUDY, 8) if t.state is State.COMPLETE][:3]
FRONT_METRIC = STUDY.objectives[0].metric


def watch(tracking: TrackerGroup) -> None:
    """Notify of a search with three trials and one point of each curve."""
    for trial in TRIALS:
        tracking.started(trial)
        tracking.progressed(trial, CurvePoint(5, 10, 40, 1.0, loss=0.5, metrics={"accuracy": 0.6}))
        tracking.finished(trial)
    tracking.close(STUDY, TRIALS)


def test_the_front_says_how_sure_its_figures_are() -> None:
    sentence, table = front_markdown(STUDY, TRIALS).split("\n\n")
    assert sentence.startswith("Knee: ")
    head, _, *rows = table.splitlines()
    assert head.startswith(f"| trial | {FRONT_METRIC} |") and rows
    assert all("±" in row and "| not confirmed |" in row for row in rows)
    assert sum("(knee)" in row for row in rows) == 1


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watch(TrackerGroup(["tensorboard"], STUDY, tmp_path))
    for trial in TRIALS:
        run = EventAccumulator(
            str(tmp_path / "tensorboard/sample" / f"{trial.number:04d}")
        ).Reload()
        (loss,) = run.Scalars("train_loss")
        assert (loss.step, loss.value) == (5, 0.5)
        (final,) = run.Scalars(f"final/{FRONT_METRIC}")
        assert final.value == pytest.approx(trial.metric(FRONT_METRIC))
    front = EventAccumulator(str(tmp_path / "tensorboard/sample/front")).Reload()
    assert {event.step for event in front.Scalars(f"front/{FRONT_METRIC}")} <= {
        trial.number for trial in TRIALS
    }
    assert "front/text_summary" in front.Tags()["tensors"]


def test_mlflow_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.chdir(tmp_path)
    watch(TrackerGroup(["mlflow"], STUDY, tmp_path))
    client = MlflowClient(url)
    experiment = client.get_experiment_by_name("sample")
    assert "knee" in experiment.tags["mlflow.note.content"]
    runs = {int(r.data.tags["trial"]): r for r in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {trial.number for trial in TRIALS}
    for trial in TRIALS:
        run = runs[trial.number]
        assert run.data.params == {k: str(v) for k, v in trial.strategy.values.items()}
        assert run.data.metrics[FRONT_METRIC] == pytest.approx(trial.metric(FRONT_METRIC))
        assert run.data.tags["on_front"] in ("true", "false")
        assert run.info.status == "FINISHED"
        (point,) = client.get_metric_history(run.info.run_id, "validation_accuracy")
        assert (point.step, point.value) == (5, 0.6)


def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    watch(TrackerGroup(["wandb"], STUDY, tmp_path))
    files = list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == len(TRIALS) + 1  # and the front
    texts = b"".join(path.read_bytes() for path in files)
    assert b"validation_accuracy" in texts
    assert FRONT_METRIC.encode() in texts


def test_failing_tracker_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __init__(self, *_: Any) -> None:
            self.calls = 0

        def started(self, trial: Trial) -> None:
            self.calls += 1
            raise ConnectionError("the service is away")

    broken = Broken()
    monkeypatch.setitem(TRACKERS, "broken", lambda *_: broken)  # type: ignore[misc]
    with caplog.at_level(logging.WARNING):
        watch(TrackerGroup(["broken", "tensorboard"], STUDY, tmp_path))
    assert broken.calls == 1
    assert "the service is away" in caplog.text
    assert (tmp_path / "tensorboard/sample/front").is_dir()


def test_error_names_the_tracker_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(study: object, directory: Path) -> Any:
        raise ConnectionError("the server is away")

    monkeypatch.setitem(TRACKERS, "mlflow", away)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot log to mlflow: the server is away"):
        TrackerGroup(["mlflow"], STUDY, tmp_path)


def test_error_suggests_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        TrackerGroup(["tensorbord"], STUDY, tmp_path)
    assert "did you mean tensorboard?" in str(caught.value.hint)


def test_composite_notifies_all_observers(tmp_path: Path) -> None:
    calls: list[str] = []

    class Recorder:
        def started(self, trial: Trial) -> None:
            calls.append("started")

        def progressed(self, trial: Trial, point: CurvePoint) -> None:
            calls.append("progressed")

        def finished(self, trial: Trial) -> None:
            calls.append(json.dumps(trial.number))

    composite = CompositeObserver((Recorder(), Recorder()))
    composite.started(TRIALS[0])
    composite.progressed(TRIALS[0], CurvePoint(1, 2, 3, 4.0))
    composite.finished(TRIALS[0])
    assert calls == ["started"] * 2 + ["progressed"] * 2 + [str(TRIALS[0].number)] * 2
