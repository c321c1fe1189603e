"""The progress of a search: a live panel on a terminal, elsewhere a line a finished trial."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autotune.analysis.budget import BudgetUsage, typical_seconds
from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.plan import describe_default, seconds_at_profile, warn_of_plan
from autotune.analysis.recommendation_text import describe_best
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import believed_bests
from autotune.analysis.text import (
    UNCLEAR,
    UNCLEAR_CAPTION,
    format_metric,
    format_ratio_to_default,
)
from autotune.analysis.timeline import prediction_checks
from autotune.cli.layout import INDENT
from autotune.cli.output import STATE_STYLES, err, non_default_settings, print_plan
from autotune.domain import CurvePoint, State, Trial, TrialOrigin
from autotune.domain.clock import utc_now
from autotune.domain.metrics import get_metric

REFRESH_HZ = 2
"""Drawing takes time from the trial that is measured on the same cores."""


class LiveView:
    """An observer of the search that prints its progress to stderr."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._study = snapshot.study
        self._trials = dict(snapshot.by_number)
        self._snapshot = snapshot
        self._points: dict[int, CurvePoint] = {}
        self._explains_mark = True
        self._best_lines = self._describe_bests()
        self._live = Live(console=err, refresh_per_second=REFRESH_HZ, transient=True)

    def __enter__(self) -> Self:
        self._print_plan_of_rest()
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
        self._update(trial)
        self._draw()

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        self._points[trial.number] = point
        if trial.origin is TrialOrigin.DEFAULT and trial.started_at is not None:
            elapsed = (utc_now() - trial.started_at).total_seconds()
            self._print_plan(seconds_at_profile(point, elapsed), point)
        self._draw()

    def finished(self, trial: Trial) -> None:
        self._update(trial)
        self._points.pop(trial.number, None)
        self._best_lines = self._describe_bests()
        self._print_trial(trial)
        self._draw()

    def _print_plan(self, seconds: float | None, point: CurvePoint) -> None:
        """Print the plan of the budget as soon as the default is profiled, once."""
        if seconds is None or self._study.budget.minutes is None:
            return
        epochs = float(self._study.baseline["epochs"])
        samples = round(point.samples * point.total_steps / max(point.step, 1) / epochs)
        print_plan(
            describe_default(self._study, seconds), warn_of_plan(self._study, seconds, samples)
        )

    def _print_plan_of_rest(self) -> None:
        """Print what the budget of a continued study still allows."""
        default, used = self._snapshot.baseline, BudgetUsage(self._snapshot.trials, None).seconds
        if default is None or default.state is not State.COMPLETE or not default.seconds:
            return
        if self._study.budget.minutes is not None:
            print_plan(describe_default(self._study, default.seconds, used), None)

    def _update(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        self._snapshot = Snapshot(self._study, list(self._trials.values()))

    # ------------------------------------------------------------------------------ the panel

    def _draw(self) -> None:
        if self._live.is_started:
            self._live.update(Group(self._header(), *self._best_lines, *self._running_lines()))

    def _print_trial(self, trial: Trial) -> None:
        """Print a finished trial: its figures or end reason, and its settings, on one line if both
        fit."""
        line = Text(f"trial {trial.number:>3} ")
        line.append(f"{trial.state.value:<11} ", style=STATE_STYLES[trial.state])
        metrics = self._study.reported_metrics if trial.state is State.COMPLETE else ()
        figures = "  ".join(self._figure(trial, metric) for metric in metrics)
        line.append(figures or trial.reason or "")
        settings = Text(non_default_settings(self._study, trial), style="dim")
        if line.cell_len + settings.cell_len + 2 <= err.width or not err.is_terminal:
            err.print(line.append("  ").append_text(settings), soft_wrap=not err.is_terminal)
        else:
            err.print(line, Padding(settings, (0, 0, 0, INDENT)))
        if self._explains_mark and UNCLEAR in figures:
            err.print(Padding(Text(UNCLEAR_CAPTION, style="dim"), (0, 0, 0, INDENT)))
            self._explains_mark = False

    def _figure(self, trial: Trial, metric: str) -> str:
        value = trial.metric(metric)
        ratio = format_ratio_to_default(metric, trial, self._snapshot.baseline)
        return format_metric(metric, value) + (f" ({ratio})" if ratio else "")

    def _header(self) -> Table:
        trials = self._snapshot.trials
        usage, budget = BudgetUsage(trials, utc_now()), self._study.budget
        finished = sum(t.state.is_finished and t.state is not State.INTERRUPTED for t in trials)
        total = budget.trials
        volume = hypervolume(self._study, trials)
        parts = [f"{finished} of {total} trials" if total else f"{finished} trials"]
        parts += [f"hypervolume {volume:.3f}"] if volume is not None else []
        parts += [f"{usage.seconds / 60:.1f} min", f"about {self._minutes_left():.1f} min left"]
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(total or 1, min(finished, total or 1), width=24)
        row.add_row(bar, Text(", ".join(parts)))
        return row

    def _minutes_left(self) -> float:
        """The estimate that ends first: the minutes of the budget, or the predicted time of running
        trials and the median time of those to come."""
        trials, budget = self._snapshot.trials, self._study.budget
        usage = BudgetUsage(trials, utc_now())
        bounds = []
        if budget.minutes is not None:
            bounds.append(budget.minutes - usage.seconds / 60)
        if budget.trials is not None and typical_seconds(trials):
            workers = max(self._study.executor.workers, 1)
            seconds = max(budget.trials - usage.trials, 0) * typical_seconds(trials)
            seconds += sum(self._seconds_left(t) for t in trials if t.state is State.RUNNING)
            bounds.append(seconds / 60 / workers)
        return max(min(bounds, default=0.0), 0.0)

    def _seconds_left(self, trial: Trial) -> float:
        """The predicted remaining time of a running trial; 0 without a prediction."""
        predicted = next(
            (check.predicted for check in prediction_checks(trial) if check.metric == "seconds"),
            0.0,
        )
        start = trial.started_at or utc_now()
        return max(predicted - (utc_now() - start).total_seconds(), 0.0)

    def _describe_bests(self) -> list[Text]:
        """What is believed of the best strategies; nothing where no panel is drawn."""
        if not err.is_terminal or err.quiet:
            return []
        return [
            Text(
                f"  best {get_metric(best.objective.metric).label}: {describe_best(best)}, "
                f"trial {best.trial.number}"
            )
            for best in believed_bests(self._snapshot.recommender)
        ]

    def _running_lines(self) -> list[Padding]:
        lines = []
        for trial in self._snapshot.by_state[State.RUNNING]:
            point = self._points.get(trial.number)
            step = f"step {point.step}/{point.total_steps}" if point else "starting"
            loss = f", loss {point.loss:.3f}" if point and point.loss is not None else ""
            seconds = self._seconds_left(trial)
            left = f", about {seconds:.0f} s left" if seconds else ""
            settings = non_default_settings(self._study, trial)
            text = Text(f"running {trial.number}: {step}{loss}{left}  {settings}", style="cyan")
            lines.append(Padding(text, (0, 0, 0, 2)))
        return lines
