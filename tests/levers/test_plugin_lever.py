"""A lever of a plug-in: registration, search, predictions and exports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from autotune import plugins
from autotune.domain import Categorical, ForbiddenClause, Phase, Range, State, Strategy, Trial
from autotune.domain.search_space import complete, excluded
from autotune.errors import UsageError
from autotune.export import exporter
from autotune.levers import (
    ACCURACY,
    LEVERS,
    Lever,
    Stage,
    defaults,
    phase_levers,
    profile_key,
    register_lever,
    training_key,
)
from autotune.levers.effects import MODEL_LEVERS, load_effect, model_effects
from autotune.ports import Store
from autotune.spec import json_schema, load
from autotune.store import open_store
from autotune.tuner.feasibility.flops import training_flops
from autotune.tuner.history import History
from tests.export import samples
from tests.spec.hosts import CPU, GPU
from tests.tuner.feasible_world import MINILM

PLUGIN = Path(__file__).parent / "embedding_noise.py"
NAME = "embedding_noise"

STUDY = """\
study: noise
plugins: [embedding_noise.py]
task: {model: "builtin:bert-tiny", train_samples: 64, validation_samples: 48}
objectives: [train_samples_per_second, accuracy]
space: {embedding_noise: [20, 60], batch_size: 16, device: cpu, threads: 1}
budget: {trials: 3}
"""

MINIMAL = Lever(
    name="my_lever",
    summary="A lever of a test",
    domain=Categorical(("low", "high")),
    default="low",
    influences=frozenset({ACCURACY}),
)


@pytest.fixture(autouse=True)
def _clean_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove what a test registers."""
    monkeypatch.setattr(plugins, "_loaded", set())
    names = set(LEVERS)
    yield
    for name in set(LEVERS) - names:
        LEVERS.unregister(name)


@pytest.fixture
def study_path(tmp_path: Path) -> Path:
    (tmp_path / PLUGIN.name).write_text(PLUGIN.read_text(encoding="utf-8"), encoding="utf-8")
    path = tmp_path / "noise.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, **environment}, check=False,
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip


def noisy(value: float) -> Strategy:
    return Strategy({**defaults(CPU), "threads": 1, NAME: value})


# ----------------------------------------------------------------------------------- in a search


@pytest.mark.slow
def test_a_search_and_its_export_apply_the_lever(study_path: Path, tmp_path: Path) -> None:
    data = '"builtin:bert-tiny", dataset: {train: train.jsonl}'
    study_path.write_text(STUDY.replace('"builtin:bert-tiny"', data), encoding="utf-8")
    samples.write_data(tmp_path)
    storage = f"sqlite:///{tmp_path}/noise.db"
    search = run(tmp_path, "-m", "autotune", "search", "noise.yaml", AUTOTUNE_STORAGE=storage)
    assert search.returncode == 0, search.stderr
    store = open_store(storage, read_only=True)
    trials = store.trials("noise")
    store.close()
    assert {trial.state for trial in trials} == {State.COMPLETE}
    assert trials[0].strategy[NAME] == 0.0, "the default"
    assert {trial.strategy[NAME] for trial in trials[1:]} == {20.0, 60.0}
    for trial in trials:
        log = (tmp_path / f"runs/noise/{trial.number:04}/log.txt").read_text(encoding="utf-8")
        expected = trial.strategy[NAME] != 0.0
        assert (f"embedding noise {trial.strategy[NAME]} on cpu" in log) == expected

    export = run(tmp_path, "-m", "autotune", "export", "noise", "--trial", "1", "--to",
                 "hf-trainer", "--output", "out", AUTOTUNE_STORAGE=storage)  # fmt: skip
    assert export.returncode == 0, export.stderr
    blocked = tmp_path / "blocked" / "autotune"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('an export needs no autotune')")
    script = run(tmp_path / "out", "train.py", PYTHONPATH=str(blocked.parent))
    assert script.returncode == 0, script.stderr
    assert f"embedding noise {trials[1].strategy[NAME]} on cpu" in script.stdout
    assert json.loads((tmp_path / "out/metrics.json").read_text())["train_samples_per_second"] > 0


def test_a_study_file_can_search_the_lever(study_path: Path) -> None:
    study = load(study_path, host=CPU).study
    dimension = next(d for d in study.space.dimensions if d.lever == NAME)
    assert dimension.domain == Categorical((20.0, 60.0))
    assert study.baseline[NAME] == 0.0
    assert LEVERS[NAME].summary in str(json_schema())


def test_a_study_file_without_the_plug_in_cannot(study_path: Path) -> None:
    text = study_path.read_text(encoding="utf-8").replace("plugins: [embedding_noise.py]\n", "")
    with pytest.raises(UsageError, match="unknown lever 'embedding_noise'"):
        load(text, host=CPU)


def test_the_keys_of_phases_depend_on_its_influences() -> None:
    unknown = training_key(noisy(60.0)), profile_key(noisy(60.0))
    assert unknown != (training_key(noisy(0.0)), profile_key(noisy(0.0))), "it may influence both"
    register_lever(replace(MINIMAL, name=NAME, domain=Range(0.0, 100.0), default=0.0))
    assert NAME in phase_levers(Phase.TRAIN)
    assert NAME not in phase_levers(Phase.PROFILE)
    assert training_key(noisy(0.0)) != training_key(noisy(60.0))
    assert profile_key(noisy(0.0)) == profile_key(noisy(60.0))


def test_its_workload_counts_in_predictions(study_path: Path) -> None:
    plugins.load([str(PLUGIN)])
    ratio = training_flops(MINILM, noisy(60.0)) / training_flops(MINILM, noisy(0.0))
    assert ratio == pytest.approx(1.01)


def test_its_forbidden_combinations_are_excluded() -> None:
    clause = ForbiddenClause("my_lever == high and epochs > 1", "a reason")
    on_gpu = ForbiddenClause("my_lever == high and device == 'cuda:0'", "another reason")
    register_lever(
        replace(
            MINIMAL, forbidden=(clause,), forbidden_on=lambda host: [on_gpu] * len(host.devices[1:])
        )
    )
    text = "study: s\nobjectives: [accuracy]\nspace: {my_lever: auto, epochs: [1, 2]}\n"
    for host, clauses in ((CPU, {clause}), (GPU, {clause, on_gpu})):
        space = load(text, host=host).study.space
        assert clauses <= {*space.rules}
        strategy = complete(space, {"my_lever": "high", "epochs": 2.0})
        assert excluded(space, strategy) is not None


def test_trials_from_before_the_lever_ran_at_its_default() -> None:
    register_lever(MINIMAL)
    before = {name: value for name, value in defaults(CPU).items() if name != "my_lever"}

    class OneTrial:
        def trials_since(self, study: str, revision: int) -> tuple[list[Trial], int]:
            return [Trial(0, State.COMPLETE, Strategy(before))], 1

    history = History(cast(Store, OneTrial()), "s", defaults(CPU))
    assert [trial.strategy for trial in history.refresh()] == [Strategy(defaults(CPU))]


# ------------------------------------------------------------------------------------ the effect


def test_only_settings_other_than_the_default_have_an_effect() -> None:
    plugins.load([str(PLUGIN)])
    assert len([*model_effects(noisy(60.0), Stage.FREEZE)]) == 1
    assert not [*model_effects(noisy(60.0), Stage.LOAD)]
    assert not [*model_effects(noisy(0.0), Stage.FREEZE)]
    without = Strategy({k: v for k, v in noisy(0.0).values.items() if k != NAME})
    assert not [*model_effects(without, Stage.FREEZE)], "a strategy from before the plug-in"


def test_an_effect_that_does_not_exist_names_its_lever() -> None:
    lever = replace(MINIMAL, stage=Stage.LOAD, effect="tests.levers.embedding_noise:no_such")
    with pytest.raises(UsageError, match="lever my_lever: cannot load its effect"):
        load_effect(lever)


@pytest.mark.parametrize("name", ["hf-trainer", "torchrun", "ray-train"])
def test_every_script_contains_the_plug_in(name: str, study_path: Path, tmp_path: Path) -> None:
    study = load(study_path, host=CPU).study
    task = samples.study(samples.write_data(tmp_path)).task
    trial = samples.trial(**{NAME: 60.0})
    exporter(name).export(replace(study, task=task), trial, tmp_path / "out")
    assert (tmp_path / "out/tuned/extensions/embedding_noise.py").is_file()
    readme = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert f"| {NAME} | `60.0` | tuned/extensions/embedding_noise.py |" in readme


def test_an_export_without_a_place_for_the_lever_is_refused(tmp_path: Path) -> None:
    register_lever(MINIMAL)
    trial = samples.trial(my_lever="high")
    with pytest.raises(UsageError, match="my_lever = high: the format hf-trainer does not set"):
        exporter("hf-trainer").export(samples.study(), trial, tmp_path / "out")


# ---------------------------------------------------------------------------------- registration


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "batch_size"}, "the lever 'batch_size' is already registered"),
        ({"name": "my-lever"}, "not a valid name"),
        ({"default": "medium"}, "its default 'medium' is not a legal setting"),
        ({"influences": frozenset()}, "influences is empty"),
        ({"stage": Stage.LOAD}, "has a stage, but its effect is None"),
        ({"when": "no_such_lever > 1"}, "in 'no_such_lever > 1': "),
        ({"when": "my_lever == low"}, "in 'my_lever == low': "),
        ({"forbidden": (ForbiddenClause("epochs >", ""),)}, "in 'epochs >': "),
    ],
    ids=str,
)
def test_a_wrong_record_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        register_lever(replace(MINIMAL, **changes))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "my_lever" not in LEVERS


def test_an_equal_record_can_be_registered_again() -> None:
    register_lever(MINIMAL)
    register_lever(MINIMAL)
    assert [*LEVERS][-1] == "my_lever"


def test_removing_a_lever_removes_its_effect() -> None:
    register_lever(replace(MINIMAL, stage=Stage.LOAD, effect="module:function"))
    assert "my_lever" in MODEL_LEVERS
    LEVERS.unregister("my_lever")
    assert "my_lever" not in MODEL_LEVERS
    assert "my_lever" not in phase_levers(Phase.TRAIN)
