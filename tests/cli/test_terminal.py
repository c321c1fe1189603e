"""Listings at 40 to 160 columns, the plot of the front, and the lines of a search."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import UNCLEAR, UNCLEAR_CAPTION
from autotune.cli import output
from autotune.cli.front import front_listing
from autotune.cli.layout import Column, Listing, Row
from autotune.cli.live import LiveView
from autotune.cli.plot import DEFAULT, FRONT, KNEE, TRIED, axis_range, plot
from autotune.cli.tables import check_listing
from autotune.cli.trials import trial_details, trial_listing
from autotune.domain import Event, State, TrialOrigin
from autotune.domain.clock import utc_now
from autotune.domain.metrics import METRICS
from autotune.export.verify import Check
from benchmarks import sample_studies as samples

STUDY = samples.study("sample", (samples.SPEED, samples.ACCURACY, samples.COST))
TRIALS = list(samples.trials(STUDY, 30, seed=2))
TRIALS.append(samples.confirming(TRIALS[0], len(TRIALS), seed=7))
SNAPSHOT = Snapshot(STUDY, TRIALS)
WIDTHS = (40, 80, 160)


def rendered(content: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(content)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()


def words(lines: list[str]) -> set[str]:
    """Without rules, and without the parentheses that a unit has where there is no heading."""
    return {word.strip("()") for line in lines for word in line.split() if set(word) != {"─"}}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "content",
    [front_listing(SNAPSHOT), trial_listing(SNAPSHOT, TRIALS), trial_details(SNAPSHOT, TRIALS[3])],
    ids=["pareto", "trials", "show"],
)
def test_no_word_is_broken(content: RenderableType, width: int) -> None:
    lines = rendered(content, width)
    assert max(map(len, lines)) <= width
    assert words(lines) <= words(rendered(content, 1000))


def test_a_front_has_a_line_of_figures_and_a_line_of_settings() -> None:
    lines = rendered(front_listing(SNAPSHOT), 80)
    first = lines.index(next(line for line in lines if set(line) == {"─"})) + 1
    for trial in SNAPSHOT.front:
        mark = KNEE if trial is SNAPSHOT.knee else FRONT
        (line,) = [line for line in lines[first:] if line.split()[:2] == [str(trial.number), mark]]
        assert line.count("±") == len(STUDY.objectives)
        settings = lines[lines.index(line) + 1]
        assert settings.startswith("    ") and ("=" in settings or "the default" in settings)


def test_a_wide_terminal_gets_one_table() -> None:
    lines = rendered(front_listing(SNAPSHOT), 160)
    (head,) = [line for line in lines if "settings that differ" in line]
    assert "P(front)" in head
    for trial in SNAPSHOT.front:
        (line,) = [line for line in lines if line.split()[:1] == [str(trial.number)]]
        assert "=" in line or "the default" in line


def test_a_narrow_terminal_gets_a_line_a_figure() -> None:
    columns = [Column("trial"), Column("speed", "samples/s"), Column("cost")]
    listing = Listing(columns, [Row(["3", "1,234.5", "$0.10"], ["precision=bf16"])])
    lines = [line.rstrip() for line in rendered(listing, 24)]
    assert lines[3].split() == ["3", "1,234.5", "$0.10"]
    lines = [line.rstrip() for line in rendered(listing, 22)]
    assert lines == [
        "trial 3", "    speed (samples/s)", "    1,234.5", "    cost $0.10", "    precision=bf16",
    ]  # fmt: skip


def test_axes_stay_within_what_a_metric_can_be() -> None:
    accuracy, speed, cost = (
        METRICS[name] for name in (samples.ACCURACY, samples.SPEED, "cost_usd")
    )
    low, high = axis_range(accuracy, [0.99])
    assert 0 <= low < 0.99 < high <= 1
    assert axis_range(accuracy, [0.0, 1.0]) == (0.0, 1.0)
    assert axis_range(speed, [0.0, 10.0])[0] == 0.0
    assert axis_range(cost, [0.0])[0] == 0.0 < axis_range(cost, [0.0])[1]
    low, high = axis_range(METRICS["mcc"], [-0.99, 0.99])
    assert (low, high) == (-1.0, 1.0)


def test_one_trial_is_one_mark() -> None:
    lines = plot(Snapshot(STUDY, TRIALS[:1]), 80).plain.splitlines()
    drawing = "\n".join(line for line in lines[1:-1] if "│" in line or "┤" in line)
    assert sum(drawing.count(mark) for mark in (TRIED, FRONT, KNEE, DEFAULT)) == 1
    ticks = [line.split("┤")[0].strip() for line in lines if "┤" in line]
    assert all(0 <= float(tick.rstrip("%")) <= 100 for tick in ticks if tick.endswith("%"))
    assert any(tick.endswith("%") for tick in ticks)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_plot_fits_the_terminal(width: int) -> None:
    drawing = plot(SNAPSHOT, width).plain.splitlines()[1:-1]
    assert max(map(len, drawing)) <= width


def test_notes_are_wrapped_at_spaces_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/a/long/path/" + "x" * 60
    monkeypatch.setattr(output, "err", Console(width=40, stderr=True, highlight=False))
    output.info(f"wrote {path}; all the words of this note are printed")
    assert capsys.readouterr().err.split() == [
        "wrote", f"{path};", *["all", "the", "words", "of", "this", "note", "are", "printed"],
    ]  # fmt: skip


def test_a_paused_trial_and_the_one_that_continues_it_name_each_other() -> None:
    paused = replace(TRIALS[3], state=State.PRUNED, reason="paused at step 50 of 100: 3%")
    rest = replace(TRIALS[3], number=len(TRIALS), origin=TrialOrigin.CONTINUED)
    snapshot = Snapshot(STUDY, [*TRIALS[:3], paused, *TRIALS[4:], rest])
    first, second = (rendered(trial_details(snapshot, trial), 80) for trial in (paused, rest))
    assert "paused at step 50 of 100: 3%" in first
    assert f"Continued by trial {rest.number}" in first
    assert "Continues trial 3, which was paused" in second
    event = Event(
        TRIALS[0].started_at or utc_now(),
        "continued",
        "at step 50 of 100, from the checkpoint of trial 3",
    )
    resumed = replace(rest, result=replace(rest.result, events=(event,)))
    third = rendered(trial_details(snapshot, resumed), 80)
    assert "Continued at step 50 of 100, from the checkpoint of trial 3" in third
    assert not any("ontinue" in line for line in rendered(trial_details(SNAPSHOT, TRIALS[3]), 80))


def test_a_trial_lists_the_runs_with_other_seeds() -> None:
    """Replicates on the validation split; the mean is that of confirmations."""
    first = next(t for t in TRIALS[1:] if t.state is State.COMPLETE)
    runs = [
        replace(TRIALS[of], number=len(TRIALS) + n, seed=101 + n, origin=TrialOrigin.REPLICATE)
        for n, of in enumerate((first.number, first.number, 0))
    ]
    snapshot = Snapshot(STUDY, [*TRIALS, *runs])
    repeated, default, run = (
        rendered(trial_details(snapshot, trial), 160) for trial in (first, TRIALS[0], runs[0])
    )
    title = "Full training runs repeated with other seeds"
    rows = [line.split() for line in repeated[repeated.index(title) :]]
    for trial in (first, *runs[:2]):
        assert [str(trial.number), str(trial.seed), "validation"] in [row[:3] for row in rows]
    assert ["mean"] not in [row[:1] for row in rows]
    splits = [line.split()[2:3] for line in default[default.index(title) :]]
    assert splits.count(["validation"]) == 2 and ["test"] in splits
    assert any(line.split()[:1] == ["mean"] for line in default)
    assert f"replicate of trial {first.number}" in run[0] and title not in run


def test_checks_show_what_is_known() -> None:
    """Predictions as a share, no ratio to 0, and no intervals that nobody measured."""
    checks = [
        Check("predictions", 1.0, None, 0.995, None, 0.0),
        Check("deployed_mcc", 0.0, None, 0.0, None, 1e-12),
        Check("deployed_samples_per_second", 100.0, (90.0, 110.0), 99.0, None, 5.0),
    ]
    rows = check_listing(checks).rows
    cells = [[str(cell) for cell in row.cells] for row in rows]
    assert cells[0] == ["equal predictions", "100.00%", "99.50%", "0.995", "FAILED"]
    assert cells[1][1:] == ["0.000", "0.000", "", "held"]
    assert [len(row.details) for row in rows] == [0, 0, 1]


def test_a_search_explains_the_mark_of_unclear_ratios_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = LiveView(Snapshot(STUDY, []))
    view.finished(TRIALS[0])
    assert UNCLEAR not in capsys.readouterr().err
    for trial in TRIALS[1:8]:
        view.finished(trial)
    text = " ".join(capsys.readouterr().err.split())
    assert text.count(f"{UNCLEAR})") > 1
    assert text.count(UNCLEAR_CAPTION) == 1
