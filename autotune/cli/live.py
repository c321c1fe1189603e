"""A search as it runs: a live panel on a terminal, a line a trial elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autotune.analysis.budget import BudgetUsage, typical_seconds
from autotune.analysis.front import baseline
from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.summary import best, format_metric, times_default
from autotune.analysis.timeline import prediction_checks
from autotune.cli.output import err
from autotune.cli.tables import STATE_STYLES, non_default_settings
from autotune.domain import CurvePoint, State, Study, Trial
from autotune.domain.metrics import METRICS

REFRESH_HZ = 2
"""Drawing takes time from the trial that is measured on the same cores."""


class LiveView:
    """An :class:`~autotune.search.tuner.Observer` that draws what it sees to stderr."""

    def __init__(self, study: Study, trials: Sequence[Trial]) -> None:
        self._study = study
        self._trials = {trial.number: trial for trial in trials}
        self._points: dict[int, CurvePoint] = {}
        self._live = Live(console=err, refresh_per_second=REFRESH_HZ, transient=True)

    def __enter__(self) -> Self:
        if err.is_terminal and not err.quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._live.stop()

    # --------------------------------------------------------------------------- the observer

    def started(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        self._draw()

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        self._points[trial.number] = point
        self._draw()

    def finished(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        self._points.pop(trial.number, None)
        err.print(self._line(trial))
        self._draw()

    # ---------------------------------------------------------------------------- the picture

    def _draw(self) -> None:
        if self._live.is_started:
            self._live.update(Group(self._header(), *self._bests(), *self._running()))

    def _line(self, trial: Trial) -> Text:
        """One finished trial in one line."""
        default = baseline(self._study, list(self._trials.values()))
        line = Text(f"trial {trial.number:>3} ")
        line.append(f"{trial.state.value:<11} ", style=STATE_STYLES[trial.state])
        if trial.state is State.COMPLETE:
            figures = [self._figure(trial, o.metric, default) for o in self._study.objectives]
            line.append("  ".join(figures))
        else:
            line.append(trial.reason or "")
        line.append(f"  {non_default_settings(self._study, trial)}", style="dim")
        return line

    def _figure(self, trial: Trial, metric: str, default: Trial | None) -> str:
        value = trial.metric(metric)
        ratio = times_default(metric, value, default)
        return format_metric(metric, value) + (f" ({ratio})" if ratio else "")

    def _header(self) -> Table:
        trials = list(self._trials.values())
        used, budget = BudgetUsage(trials, datetime.now(UTC)), self._study.budget
        done = sum(t.state.finished and t.state is not State.INTERRUPTED for t in trials)
        total = budget.trials
        volume = hypervolume(self._study, trials)
        words = [f"{done} of {total} trials" if total else f"{done} trials"]
        words += [f"hypervolume {volume:.3f}"] if volume is not None else []
        words += [f"{used.seconds / 60:.1f} min", f"about {self._minutes_left():.1f} min left"]
        row = Table.grid(padding=(0, 2))
        row.add_row(
            ProgressBar(total or 1, min(done, total or 1), width=24), Text(", ".join(words))
        )
        return row

    def _minutes_left(self) -> float:
        """By what is predicted of running trials, and others at their usual time; or by the clock,
        whichever ends first."""
        trials, budget = list(self._trials.values()), self._study.budget
        used = BudgetUsage(trials, datetime.now(UTC))
        bounds = []
        if budget.minutes is not None:
            bounds.append(budget.minutes - used.seconds / 60)
        if budget.trials is not None and typical_seconds(trials):
            workers = max(self._study.executor.workers, 1)
            left = max(budget.trials - used.trials, 0) * typical_seconds(trials)
            running = sum(self._seconds_left(t) for t in trials if t.state is State.RUNNING)
            bounds.append((left + running) / 60 / workers)
        return max(min(bounds, default=0.0), 0.0)

    def _seconds_left(self, trial: Trial) -> float:
        """Of a running trial, by what was predicted of it; 0 where nothing was."""
        expected = next(
            (f.predicted for f in prediction_checks(trial) if f.metric == "seconds"), 0.0
        )
        begun = trial.started_at or datetime.now(UTC)
        return max(expected - (datetime.now(UTC) - begun).total_seconds(), 0.0)

    def _bests(self) -> list[Text]:
        trials = list(self._trials.values())
        default = baseline(self._study, trials)
        lines = []
        for entry in best(self._study, trials):
            metric = entry.objective.metric
            figure = self._figure(entry.trial, metric, default)
            lines.append(
                Text(f"  best {METRICS[metric].label}: {figure}, trial {entry.trial.number}")
            )
        return lines

    def _running(self) -> list[Text]:
        lines = []
        for trial in self._trials.values():
            if trial.state is State.RUNNING:
                point = self._points.get(trial.number)
                where = f"step {point.step}/{point.total_steps}" if point else "starting"
                loss = f", loss {point.loss:.3f}" if point and point.loss is not None else ""
                left = self._seconds_left(trial)
                time = f", about {left:.0f} s left" if left else ""
                text = f"  running {trial.number}: {where}{loss}{time}  "
                text += non_default_settings(self._study, trial)
                lines.append(Text(text, style="cyan"))
        return lines
