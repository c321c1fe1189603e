"""The report of a study, and its comparison with another."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.analysis.snapshot import Snapshot
from autotune.domain import State, Study, Trial
from autotune.errors import ExecutionError, UsageError
from autotune.report import pdf
from autotune.report.blocks import Figure, Heading, Table
from autotune.report.content import USERS, content
from autotune.report.diff import compare_studies, compare_trials
from autotune.report.write import write_report
from benchmarks import sample_studies

STUDY: Study = sample_studies.study("sample")
TRIALS: list[Trial] = list(sample_studies.trials(STUDY, 30, seed=2))
ENVIRONMENT: dict[str, Any] = sample_studies.environment(STUDY)


def written(tmp_path: Path, kind: str, trials: list[Trial] = TRIALS) -> str:
    path = write_report(Snapshot(STUDY, trials), ENVIRONMENT, tmp_path / f"report.{kind}", kind)
    return path.read_text(encoding="utf-8")


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    page = written(tmp_path, "html")
    head, _, body = page.partition("</head>")
    markup = body + re.sub(r"<script>.*?</script>", "", head, flags=re.S)
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']?http""", markup)
    assert "plotly.js" in head
    assert body.count("Plotly.newPlot") >= 5


def test_every_question_has_its_section() -> None:
    blocks = list(content(Snapshot(STUDY, TRIALS), ENVIRONMENT))
    titles = [block.text for block in blocks if isinstance(block, Heading) and block.level <= 2]
    assert titles == [
        "Report of study sample",
        "Which one to take",
        "The front",
        "Every figure, default against best",
        "What the levers do",
        "Method and noise",
        "Environment",
        "All trials",
    ]


def test_each_kind_of_user_is_told_what_to_take(tmp_path: Path) -> None:
    text = written(tmp_path, "md")
    for user in USERS.values():
        assert f"| {user} | " in text
    knee = Snapshot(STUDY, TRIALS).knee
    assert knee is not None
    assert f"| You want the best compromise | {knee.number} |" in text
    assert "autotune export sample --trial knee" in text


def test_all_trials_are_listed_in_rows_as_wide_as_their_heads() -> None:
    tables = [b for b in content(Snapshot(STUDY, TRIALS), ENVIRONMENT) if isinstance(b, Table)]
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
    assert [row[0] for row in tables[-1].rows] == [str(trial.number) for trial in TRIALS]


def test_plots_are_told_in_words_too() -> None:
    figures = [b for b in content(Snapshot(STUDY, TRIALS), ENVIRONMENT) if isinstance(b, Figure)]
    assert figures
    assert all(len(figure.words) > 20 for figure in figures)


def test_text_of_the_study_cannot_become_markup(tmp_path: Path) -> None:
    evil = replace(TRIALS[3], state=State.FAILED, reason="<script>alert(1)</script>")
    page = written(tmp_path, "html", [*TRIALS[:3], evil, *TRIALS[4:]])
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_study_in_which_nothing_succeeded_is_reported(tmp_path: Path) -> None:
    failed = [replace(t, state=State.FAILED, reason="no memory") for t in TRIALS[:3]]
    text = written(tmp_path, "md", failed)
    assert "nothing is recommended" in text
    assert text.count("no memory") == 3


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no report format"):
        write_report(Snapshot(STUDY, TRIALS), {}, tmp_path / "a.doc", "doc")
    with pytest.raises(UsageError, match="no trial"):
        write_report(Snapshot(STUDY, []), {}, tmp_path / "a.html")
    with pytest.raises(UsageError, match="cannot write"):
        write_report(Snapshot(STUDY, TRIALS), {}, tmp_path)


def browser(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in on PATH that notes how it was called."""
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


def test_a_browser_prints_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser(tmp_path, PRINT, monkeypatch)
    assert "Report of study sample" in written(tmp_path, "pdf")


def test_a_browser_that_fails_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser(tmp_path, "echo no display >&2; exit 3", monkeypatch)
    with pytest.raises(ExecutionError, match="no display"):
        pdf.print_pdf("<p>", tmp_path / "a.pdf")


def test_without_a_browser_there_is_no_pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs Chromium"):
        pdf.print_pdf("<p>", tmp_path / "a.pdf")


def test_two_trials_side_by_side() -> None:
    complete = [trial for trial in TRIALS if trial.state is State.COMPLETE]
    first, second = complete[0], complete[5]
    found = compare_trials(STUDY, first, second)
    assert found.settings == first.strategy.differences(second.strategy)
    speed = found.figures[0]
    assert speed.metric == STUDY.objectives[0].metric
    assert speed.ratio == pytest.approx(
        (second.metric(speed.metric) or 0) / (first.metric(speed.metric) or 1)
    )
    ends = [t.result.measurements[speed.metric].ci95 or (0, 0) for t in (first, second)]
    assert speed.apart == (ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0])


def test_a_trial_does_not_differ_from_itself() -> None:
    found = compare_trials(STUDY, TRIALS[0], TRIALS[0])
    assert found.settings == {}
    assert all(one.ratio == 1 for one in found.figures if one.first)


def test_two_studies_are_compared_by_their_knees() -> None:
    other = replace(STUDY, name="other", task=replace(STUDY.task, max_length=64))
    others = list(sample_studies.trials(other, 20, seed=9))
    found = compare_studies(Snapshot(STUDY, TRIALS), Snapshot(other, others))
    assert found.first.startswith("sample, knee")
    assert any("tasks differ" in note for note in found.notes)
    with pytest.raises(UsageError, match="no front"):
        compare_studies(Snapshot(STUDY, TRIALS), Snapshot(other, []))
