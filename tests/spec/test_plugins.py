"""Plug-ins: how they are found, what they add, and what happens if they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from autotune import plugins
from autotune.components import (
    EXECUTORS,
    EXPORT_FORMATS,
    SAMPLERS,
    STOPPING_RULES,
    ExecutorType,
    ExportFormat,
    SamplerType,
    StoppingRule,
)
from autotune.domain import Strategy, Study, Trial
from autotune.domain.metrics import METRICS
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import PluginError, SpecError, UsageError
from autotune.export import exporter
from autotune.spec import executor, json_schema, load
from autotune.store import open_store
from autotune.tuner.samplers.registry import make_sampler
from tests.export import samples
from tests.spec.hosts import CPU

PLUGIN = Path(__file__).parent / "binary_length.py"

STUDY = """\
study: lengths
plugins: [my_components.py]
task:
  kind: length-classification
  model: builtin:bert-tiny
  train_samples: 64
  validation_samples: 48
objectives: [train_samples_per_second, mean_recall]
constraints: [mean_recall >= 0.1]
space: {batch_size: [16, 32], device: cpu, threads: 1}
budget: {trials: 2}
"""


@pytest.fixture(autouse=True)
def _clean_registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a test registers."""
    monkeypatch.setattr(plugins, "_loaded", set())
    before = [(registry, set(registry)) for registry in plugins._REGISTRIES]
    yield
    for registry, names in before:
        for name in set(registry) - names:
            registry.unregister(name)


def write_study(folder: Path, text: str = STUDY, plugin: str | None = None) -> Path:
    source = PLUGIN.read_text(encoding="utf-8") if plugin is None else plugin
    (folder / "my_components.py").write_text(source, encoding="utf-8")
    path = folder / "lengths.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def autotune(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autotune", *arguments], cwd=cwd, text=True, capture_output=True,
        check=False, timeout=280, env={**os.environ, "AUTOTUNE_STORAGE": "sqlite:///a.db"},
    )  # fmt: skip


@pytest.mark.slow
def test_a_search_uses_the_metric_and_the_task_kind_of_a_plug_in(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    data = "  dataset: {train: train.jsonl}\n  train_samples"
    path = write_study(tmp_path / "studies", STUDY.replace("  train_samples", data))
    samples.write_data(tmp_path, 480)
    search = autotune(tmp_path, "search", str(path), "--set", "budget.trials=1")
    assert search.returncode == 0, search.stderr
    assert "mean recall" in search.stdout
    resumed = autotune(tmp_path, "resume", "lengths", "--set", "budget.trials=2",
                       "--set", "space.batch_size=[8,16,32]")  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    store = open_store(f"sqlite:///{tmp_path}/a.db", read_only=True)
    trials = store.trials("lengths")
    store.close()
    assert len(trials) == 2
    for trial in trials:
        recall = trial.result.measurements["mean_recall"]
        assert 0 <= recall.value <= 1
        assert recall.n == 48
        assert {"accuracy", "loss"} <= trial.metrics.keys()
    shutil.rmtree(tmp_path / "studies")
    for command in ("trials", "pareto", "show"):  # reading needs no plug-in
        more = ("0",) if command == "show" else ()
        shown = autotune(tmp_path, command, "lengths", *more)
        assert shown.returncode == 0, shown.stderr
    assert "mean_recall" in autotune(tmp_path, "show", "lengths", "0", "--json").stdout


def test_the_study_keeps_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = write_study(tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    study = load(path, host=CPU).study
    plugin = str(tmp_path / "my_components.py")
    assert study.plugins == (plugin,)
    assert study.spec["plugins"] == [plugin]
    assert study.task.kind == "length-classification"
    assert study.objectives[1].direction == "maximize"


def test_a_metric_can_be_limited_to_its_task_kinds(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY.replace("  kind: length-classification\n", ""))
    with pytest.raises(SpecError, match="mean_recall cannot be measured here: it is not defined"):
        load(path, host=CPU)


def test_the_schema_knows_plug_ins(tmp_path: Path) -> None:
    load(write_study(tmp_path), host=CPU)
    assert "mean_recall" in str(json_schema())
    assert "length-classification" in str(json_schema())


def test_a_missing_file_is_a_mistake_of_the_study_file(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "my_components.py").unlink()
    assert executor(path).kind == "local"
    with pytest.raises(SpecError) as caught:
        load(path, host=CPU)
    first = caught.value.mistakes[0]
    assert (first.line, first.column) == (2, 11)
    assert f"there is no plug-in file {tmp_path / 'my_components.py'}" in first.message


@pytest.mark.parametrize(
    ("source", "line", "error"),
    [
        ("import autotune\nraise ValueError('no luck')\n", 2, "ValueError: no luck"),
        ("x = 1\n\ndef f(:\n", 3, "SyntaxError"),
        ("from autotune.plugins import register_magic\n", 1, "ImportError"),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, source: str, line: int, error: str) -> None:
    path = write_study(tmp_path, plugin=source)
    with pytest.raises(SpecError) as caught:
        load(path, host=CPU)
    message = caught.value.mistakes[0].message
    assert message.startswith(f"{tmp_path / 'my_components.py'}:{line}: {error}")


def test_a_failed_plug_in_leaves_nothing_and_can_be_corrected(tmp_path: Path) -> None:
    source = PLUGIN.read_text(encoding="utf-8")
    path = write_study(tmp_path, plugin=source + "\nraise OSError\n")
    with pytest.raises(SpecError):
        load(path, host=CPU)
    assert "mean_recall" not in METRICS
    assert "length-classification" not in TASK_KINDS
    write_study(tmp_path, plugin=source)
    assert load(path, host=CPU).study.objectives[1].metric == "mean_recall"


def test_names_cannot_be_taken_twice(tmp_path: Path) -> None:
    source = PLUGIN.read_text(encoding="utf-8").replace('"mean_recall", "mean', '"accuracy", "mean')
    path = write_study(tmp_path, plugin=source)
    with pytest.raises(SpecError, match="the metric 'accuracy' is already registered"):
        load(path, host=CPU)


def test_an_entry_point_registers_components(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("mine", "tests.spec.test_plugins:register_all", plugins.ENTRY_POINTS)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    plugins._installed_names.cache_clear()
    try:
        text = "study: s\nobjectives: [accuracy]\nspace: {batch_size: [8]}\n"
        text += "sampler: first\nearly_stopping: never\nexecutor: {kind: queue, address: a}\n"
        study = load(text, host=CPU).study
    finally:
        plugins._installed_names.cache_clear()
    assert study.plugins == ("tests.spec.test_plugins:register_all",)
    assert (study.sampler.kind, study.stopping) == ("first", "never")
    assert (study.executor.kind, study.executor.workers) == ("queue", 4)
    assert make_sampler(study).ask([]) == study.baseline
    assert exporter("notes").name == "notes"


def test_a_broken_entry_point_is_named() -> None:
    with pytest.raises(PluginError, match=r"installed plug-in not_installed:f cannot be loaded"):
        plugins.load(["not_installed:f"])


def test_malformed_names_are_refused() -> None:
    with pytest.raises(UsageError, match="sampler name 'My Sampler' is not valid"):
        plugins.register_sampler(SamplerType("My Sampler", "", "m:f"))


class Baseline:
    """A sampler that proposes the default strategy."""

    def __init__(self, study: Study, workload: object) -> None:
        self._study = study

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        return self._study.baseline


class Notes:
    name = "notes"


def register_all() -> None:
    plugins.register_sampler(SamplerType("first", "The default strategy", Baseline))
    plugins.register_stopping_rule(StoppingRule("never", "Stops nothing", None))
    plugins.register_executor(
        ExecutorType("queue", "A queue", "m:f", 4, settings=frozenset({"address"}))
    )
    plugins.register_export_format(ExportFormat("notes", Notes()))
    assert "first" in SAMPLERS
    assert "never" in STOPPING_RULES
    assert "queue" in EXECUTORS
    assert "notes" in EXPORT_FORMATS
