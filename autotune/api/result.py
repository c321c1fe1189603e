"""The result of a search: tables, figures, the trial to use, exports and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune import domain
from autotune.analysis.select import select_trial
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_estimate
from autotune.domain import Trial

if TYPE_CHECKING:  # pandas and Plotly take a second to import
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Result:
    """A study and its trials, as stored at ``storage``.

    ``reason`` is why the search ended; empty for a result that was loaded.
    """

    study: domain.Study
    trials: Sequence[Trial]
    storage: str
    environment: Mapping[str, Any]
    reason: str = ""

    @cached_property
    def snapshot(self) -> Snapshot:
        """The study with everything that follows from its trials."""
        return Snapshot(self.study, self.trials)

    @property
    def baseline(self) -> Trial | None:
        """The trial of the default, to which others are compared."""
        return self.snapshot.baseline

    @property
    def knee(self) -> Trial | None:
        """The best compromise on the front; ``None`` without a front."""
        return self.snapshot.knee

    @cached_property
    def front(self) -> pd.DataFrame:
        """The Pareto front and the recommended trial, best in the first objective first: a row per
        trial with its metrics and settings."""
        return self.table.loc[list(self.snapshot.front_points)]

    @cached_property
    def table(self) -> pd.DataFrame:
        """All trials: state, verdict, metrics (missing if not measured) and settings, by number."""
        import pandas as pd

        return pd.DataFrame(self.snapshot.table_columns()).set_index("trial")

    def pick(self, query: str) -> Trial:
        """The trial that ``query`` names: ``"knee"``, ``"fastest"``, a number, or
        ``"accuracy >= 0.9 then cheapest"``.

        :raises NotFoundError: no trial matches.
        :raises UsageError: ``query`` is malformed.
        """
        return select_trial(self.study, self.trials, query)

    @property
    def summary(self) -> str:
        """The recommended compromise in one sentence, or that there is none."""
        sentence = self.snapshot.recommendation_sentence("knee")
        return sentence or f"{self.study.name}: no trial satisfies all constraints"

    def plot(self, across: str | None = None, up: str | None = None) -> go.Figure:
        """All trials by two metrics, by default the first two objectives, with the front marked. A
        study with one objective gives the progress of the search."""
        from autotune.report.figures import front_summary_figure, growth_figure

        names = [objective.metric for objective in self.study.objectives]
        if len(names) == 1 and across is None:
            return growth_figure(self.snapshot, static=True)
        return front_summary_figure(self.snapshot, across or names[0], up or names[1])

    def export(
        self,
        to: str = "hf-trainer",
        output: str | Path = "out",
        *,
        trial: str = "knee",
        allow_partial: bool = False,
        overwrite: bool = False,
        all_rows: bool = False,
    ) -> Sequence[Path]:
        """Write the strategy of one trial as a folder that a trainer runs; see ``autotune export``.
        Returns the files."""
        from autotune.cli.options import runs_directory
        from autotune.export import exporter
        from autotune.export.trained import exported_model
        from autotune.store import open_store

        selected = self.pick(trial)
        trials = self.snapshot.trials
        target = exporter(
            to,
            allow_partial=allow_partial,
            overwrite=overwrite,
            all_rows=all_rows,
            comparison=self.snapshot.describe(selected),
            model=exported_model(to, self.study, trials, selected, runs_directory()),
        )
        number = selected.number
        store = open_store(self.storage, read_only=True)
        try:
            return target.export(self.study, store.trial(self.study.name, number), Path(output))
        finally:
            store.close()

    def report(self, path: str | Path, file_format: str = "html") -> Path:
        """Write the study as one page: ``html``, ``md`` or ``pdf``."""
        from autotune.report.write import write_report
        from autotune.store import open_store

        store = open_store(self.storage, read_only=True)
        try:
            curves = store.curves(self.study.name) if self.study.task.evaluate_every else {}
        finally:
            store.close()
        return write_report(self.snapshot, self.environment, Path(path), file_format, curves)

    def __repr__(self) -> str:
        return f"<Result of {self.study.name}, {len(self.trials)} trials; {self.summary}>"

    def _repr_html_(self) -> str:
        """For notebooks: the sentence, and the front with its objectives and searched settings."""
        parts = [f"<p><b>{escape(self.study.name)}</b>: {escape(self.summary)}</p>"]
        if self.snapshot.front_points:
            table = self._described_front()
            parts.append(table.to_html(float_format=lambda value: f"{value:.4g}", escape=True))
        return "".join(parts)

    def _described_front(self) -> pd.DataFrame:
        """The front with its objectives as text: means over all runs of each strategy, with half
        the 95% interval, and whether the strategy is confirmed."""
        levers = [d.lever for d in self.study.space.dimensions if d.lever in self.front]
        table, points = self.front[levers].copy(), self.snapshot.front_points
        metrics = self.study.reported_metrics
        for name in reversed(metrics):
            estimates = [points[number].estimates.get(name) for number in table.index]
            texts = ["" if e is None else format_estimate(name, e.value, e.ci95)
                     for e in estimates]  # fmt: skip
            table.insert(0, name, texts)
        statuses = [self.snapshot.recommender.status(points[n].trial).value for n in table.index]
        table.insert(len(metrics), "confirmation", statuses)
        return table


def load(study: str, storage: str | None = None) -> Result:
    """The stored study of this name. ``storage`` is a SQLAlchemy URL, by default that of
    ``AUTOTUNE_STORAGE`` or ``sqlite:///autotune.db``.

    :raises NotFoundError: there is no such study.
    """
    from autotune.cli.options import default_storage
    from autotune.store import open_store

    url = storage or default_storage()
    store = open_store(url, read_only=True)
    try:
        return Result(store.study(study), store.trials(study), url, store.environment(study))
    finally:
        store.close()
