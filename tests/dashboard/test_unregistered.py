"""Reading a study whose metric and lever were registered by a plug-in that is not loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_studies as samples
from conftest import ROOT
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
from typer.testing import CliRunner

from autotune.cli.app import app
from autotune.domain import Categorical, Dimension, Objective, Study, Trial
from autotune.domain.metrics import METRICS
from autotune.levers import LEVERS
from autotune.store import open_store
from dashboard import settings
from dashboard.app import PAGES

METRIC, LEVER = "mean_recall", "my_lever"


def with_unregistered(study: Study, trials: list[Trial]) -> tuple[Study, list[Trial]]:
    """The study with another name for its accuracy and one more lever."""
    space = study.space
    study = replace(
        study,
        objectives=(study.objectives[0], Objective(METRIC, "maximize")),
        constraints=(),
        space=replace(
            space,
            dimensions=(*space.dimensions, Dimension(LEVER, Categorical(("off", "on")))),
            defaults={**space.defaults, LEVER: "off"},
        ),
    )
    return study, [_renamed(trial) for trial in trials]


def _renamed(trial: Trial) -> Trial:
    measurements = dict(trial.result.measurements)
    if samples.ACCURACY in measurements:
        measurements[METRIC] = replace(measurements.pop(samples.ACCURACY), name=METRIC)
    setting = "on" if trial.number % 3 == 1 else "off"
    return replace(
        trial,
        strategy=trial.strategy.with_values(**{LEVER: setting}),
        result=replace(trial.result, measurements=measurements),
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    assert METRIC not in METRICS
    assert LEVER not in LEVERS
    url = f"sqlite:///{tmp_path_factory.mktemp('unregistered') / 'studies.db'}"
    study = samples.study("plugged", (samples.SPEED, samples.ACCURACY), trials=24)
    store = open_store(url)
    samples.write(store, *with_unregistered(study, list(samples.trials(study, 16))))
    store.close()
    return url


@pytest.mark.parametrize("page", PAGES)
def test_every_page(url: str, page: str) -> None:
    settings.configure(settings.Settings(url))
    app_test = AppTest.from_file(str(ROOT / "dashboard" / "main.py"), default_timeout=60)
    app_test._page_hash = "" if page == "studies" else calc_hash(page)
    app_test.query_params["with" if page == "compare" else "study"] = "plugged"
    app_test.run()
    assert not app_test.exception, [problem.message for problem in app_test.exception]


@pytest.mark.parametrize(
    "command",
    ["studies", "status plugged", "trials plugged", "pareto plugged", "show plugged 1",
     "pareto plugged --json", "report plugged --output report.md"],
)  # fmt: skip
def test_every_reading_command(
    url: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*command.split(), "--storage", url])
    assert result.exit_code == 0, result.output
