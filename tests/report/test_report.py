"""The report of a study, and its comparison with another."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.analysis.snapshot import Snapshot
from autotune.domain import CurvePoint, State, Study, Trial
from autotune.errors import ExecutionError, UsageError
from autotune.report import pdf
from autotune.report.blocks import Figure, Heading, Table
from autotune.report.content import GOALS, content
from autotune.report.diff import compare_studies, compare_trials
from autotune.report.evaluation_section import evaluation_section
from autotune.report.path_section import path_section
from autotune.report.write import write_report
from benchmarks import sample_studies

STUDY: Study = sample_studies.study("sample")
TRIALS: list[Trial] = list(sample_studies.trials(STUDY, 30, seed=2))
ENVIRONMENT: dict[str, Any] = sample_studies.environment(STUDY)


def write(tmp_path: Path, kind: str, trials: list[Trial] = TRIALS) -> str:
    path = write_report(Snapshot(STUDY, trials), ENVIRONMENT, tmp_path / f"report.{kind}", kind)
    return path.read_text(encoding="utf-8")


def test_page_needs_no_network(tmp_path: Path) -> None:
    page = write(tmp_path, "html")
    head, _, body = page.partition("</head>")
    markup = body + re.sub(r"<script>.*?</script>", "", head, flags=re.S)
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']?http""", markup)
    assert "plotly.js" in head
    assert body.count("Plotly.newPlot") >= 5


def test_report_has_all_sections() -> None:
    blocks = list(content(Snapshot(STUDY, TRIALS), ENVIRONMENT))
    titles = [block.text for block in blocks if isinstance(block, Heading) and block.level <= 2]
    assert titles == [
        "Report of study sample",
        "Recommended trials",
        "Where the gain comes from",
        "The front",
        "All metrics of the default and the recommended trials",
        "Effects of the levers",
        "Method and noise",
        "Environment",
        "All trials",
    ]


def test_evaluations_are_drawn_over_the_time_of_training() -> None:
    task = replace(STUDY.task, evaluate_every="0.5 epochs", best_metric="accuracy")
    study = replace(STUDY, task=task)
    curve = [
        CurvePoint(step, 20, 8 * step, step / 4, 0.5, {"accuracy": score})
        for step, score in ((5, 0.5), (10, 0.75), (20, 0.7))
    ]
    snapshot = Snapshot(study, TRIALS)
    blocks = list(evaluation_section(snapshot, dict.fromkeys(range(len(TRIALS)), curve)))
    assert isinstance(blocks[0], Heading) and blocks[0].text == "Accuracy over time"
    assert isinstance(blocks[-1], Figure)
    assert "75.0% after 2.5 s (step 10)" in blocks[-1].description
    assert list(blocks[-1].figure.data[0].x) == [1.25, 2.5, 5.0]
    assert not list(evaluation_section(snapshot, {}))
    assert not list(evaluation_section(Snapshot(STUDY, TRIALS), {0: curve}))


def test_report_recommends_a_trial_for_each_goal(tmp_path: Path) -> None:
    text = write(tmp_path, "md")
    for goal in GOALS.values():
        assert f"| {goal} | " in text
    knee = Snapshot(STUDY, TRIALS).knee
    assert knee is not None
    assert f"| Best compromise | {knee.number} |" in text
    assert "autotune export sample --trial knee" in text


def test_rows_are_as_wide_as_their_heads_and_all_trials_are_listed() -> None:
    tables = [b for b in content(Snapshot(STUDY, TRIALS), ENVIRONMENT) if isinstance(b, Table)]
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
    assert [row[0] for row in tables[-1].rows] == [str(trial.number) for trial in TRIALS]


def test_plots_have_a_description() -> None:
    figures = [b for b in content(Snapshot(STUDY, TRIALS), ENVIRONMENT) if isinstance(b, Figure)]
    assert figures
    assert all(len(figure.description) > 20 for figure in figures)


def test_text_of_the_study_is_escaped(tmp_path: Path) -> None:
    evil = replace(TRIALS[3], state=State.FAILED, reason="<script>alert(1)</script>")
    page = write(tmp_path, "html", [*TRIALS[:3], evil, *TRIALS[4:]])
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_study_without_a_complete_trial_is_reported(tmp_path: Path) -> None:
    failed = [replace(t, state=State.FAILED, reason="no memory") for t in TRIALS[:3]]
    text = write(tmp_path, "md", failed)
    assert "Nothing is recommended: no trial has completed yet." in text
    assert text.count("no memory") == 3


def test_reports_that_cannot_be_written_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no report format"):
        write_report(Snapshot(STUDY, TRIALS), {}, tmp_path / "a.doc", "doc")
    with pytest.raises(UsageError, match="no trial"):
        write_report(Snapshot(STUDY, []), {}, tmp_path / "a.html")
    with pytest.raises(UsageError, match="cannot write"):
        write_report(Snapshot(STUDY, TRIALS), {}, tmp_path)


def fake_browser(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program called chromium on PATH."""
    program = tmp_path / "bin" / "chromium"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/bin{os.pathsep}/usr/bin")


PRINT = """\
for word in "$@"; do
  case $word in --print-to-pdf=*) target=${word#*=};; file://*) page=${word#*//};; esac
done
cat "$page" > "$target"
"""


def test_browser_prints_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_browser(tmp_path, PRINT, monkeypatch)
    assert "Report of study sample" in write(tmp_path, "pdf")


def test_failing_browser_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_browser(tmp_path, "echo no display >&2; exit 3", monkeypatch)
    with pytest.raises(ExecutionError, match="no display"):
        pdf.print_pdf("<p>", tmp_path / "a.pdf")


def test_pdf_needs_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs Chromium"):
        pdf.print_pdf("<p>", tmp_path / "a.pdf")


def test_two_trials_are_compared() -> None:
    complete = [trial for trial in TRIALS if trial.state is State.COMPLETE]
    first, second = complete[0], complete[5]
    difference = compare_trials(STUDY, first, second)
    assert difference.settings == first.strategy.differences(second.strategy)
    speed = difference.figures[0]
    assert speed.metric == STUDY.objectives[0].metric
    drift = second.metrics["reference_seconds"] / first.metrics["reference_seconds"]
    speeds = [t.metrics[speed.metric] for t in (first, second)]
    assert speed.ratio == pytest.approx(speeds[1] / speeds[0] * drift), "relative to the reference"
    ends = [t.result.measurements[speed.metric].ci95 or (0, 0) for t in (first, second)]
    assert (speed.first_ci95, speed.second_ci95) == tuple(ends)
    low, high = (drift * end for end in ends[1])
    assert speed.apart == (ends[0][1] < low or high < ends[0][0])


def test_trial_does_not_differ_from_itself() -> None:
    difference = compare_trials(STUDY, TRIALS[0], TRIALS[0])
    assert difference.settings == {}
    assert all(one.ratio == 1 for one in difference.figures if one.first)


def test_two_studies_are_compared_by_their_knees() -> None:
    other = replace(STUDY, name="other", task=replace(STUDY.task, max_length=64))
    others = list(sample_studies.trials(other, 20, seed=9))
    difference = compare_studies(Snapshot(STUDY, TRIALS), Snapshot(other, others))
    assert difference.first.startswith("sample, knee")
    assert any("tasks differ" in note for note in difference.notes)
    with pytest.raises(UsageError, match="no front"):
        compare_studies(Snapshot(STUDY, TRIALS), Snapshot(other, []))


def test_each_recommended_trial_has_a_path_from_the_default() -> None:
    snapshot = Snapshot(STUDY, TRIALS)
    recommended = {r.trial.number for r in snapshot.recommendations.values()} - {0}
    blocks = list(path_section(snapshot))
    figures = [block for block in blocks if isinstance(block, Figure)]
    tables = [block for block in blocks if isinstance(block, Table)]
    assert len(figures) == len(tables) == len(recommended)
    for figure, table in zip(figures, tables, strict=True):
        bars = [trace for trace in figure.figure.data if trace.type == "bar"]
        assert len(bars) == len(STUDY.objectives)
        assert len(bars[-1].y) == len(table.rows)  # every lever can change the cost
        for bar in bars:  # a step begins where the last one ended, and all lead to the total
            ends = [base + length for base, length in zip(bar.base, bar.x, strict=True)]
            assert list(bar.base[1:-1]) == pytest.approx(ends[:-2])
            assert ends[-2] == pytest.approx(ends[-1])
