"""Settings that the type of the model cannot run are left out before the search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotune.domain import Categorical
from autotune.errors import SpecError, UsageError
from autotune.levers.model_types import LAYERED_TYPES
from autotune.spec import load
from autotune.spec.model_type import model_type_of, restrict_space
from autotune.trial.encoder import FAMILIES
from tests.spec.hosts import CPU

STUDY = """\
study: t
task: {{model: {model}, dataset: {{train: train.jsonl}}, steps: 6}}
objectives: [train_samples_per_second, accuracy]
space:
  batch_size: [8, 16]
  pruning_ratio: {ratio}
  pruning_method: auto
  freeze_layers: [0, 2]
budget: {{trials: 4}}
"""


def write_model(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    return folder


def write_study(folder: Path, model: object, ratio: str = "[0.0, 0.5]") -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(model=model, ratio=ratio), encoding="utf-8")
    return path


@pytest.mark.parametrize("ratio", ["[0.0, 0.5]", "auto", "{low: 0.0, high: 0.5}"])
def test_what_the_model_cannot_do_is_left_out(tmp_path: Path, ratio: str) -> None:
    model = write_model(tmp_path / "model", "albert")
    resolved = load(write_study(tmp_path, model, ratio), host=CPU)
    domains = {d.lever: d.domain for d in resolved.study.space.dimensions}
    assert domains["pruning_ratio"] == Categorical((0.0,))
    assert domains["freeze_layers"] == Categorical((0,))
    assert "pruning_method" not in domains
    reasons = {s.lever: s.reason for s in resolved.skipped}
    assert "a model of type albert cannot be pruned or frozen" in reasons["pruning_ratio"]
    assert "freeze_layers" in reasons and "pruning_method" in reasons


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_models_with_separate_layers_are_searched(tmp_path: Path, kind: str) -> None:
    model = write_model(tmp_path / "model", kind)
    resolved = load(write_study(tmp_path, model), host=CPU)
    domains = {d.lever: d.domain for d in resolved.study.space.dimensions}
    assert domains["pruning_ratio"] == Categorical((0.0, 0.5)) and not resolved.skipped


def test_only_impossible_settings_are_a_mistake(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "albert")
    with pytest.raises(SpecError, match="the model can run no setting of pruning_ratio"):
        load(write_study(tmp_path, model, "[0.25, 0.5]"), host=CPU)


def test_the_type_is_read_from_the_cache_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    write_model(tmp_path / "models--owner--name" / "snapshots" / "abc", "mpnet")
    assert model_type_of("owner/name") == "mpnet"
    assert model_type_of("owner/other") is None
    assert model_type_of("builtin:minilm") == "bert"
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("[" * 100_000, encoding="utf-8")
    assert model_type_of(str(tmp_path / "odd")) is None
    for name in ("HF_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    hub = tmp_path / "huggingface" / "hub"
    write_model(hub / "models--owner--elsewhere" / "snapshots" / "abc", "roberta")
    assert model_type_of("owner/elsewhere") == "roberta"


@pytest.mark.parametrize("ratio", ["[0.0, 0.5]", "{low: 0.0, high: 0.5}"])
def test_a_type_that_is_known_later_leaves_the_same_space(tmp_path: Path, ratio: str) -> None:
    """A model of the hub is downloaded when the search starts."""
    before = load(write_study(tmp_path, "owner/unknown", ratio), host=CPU).study.space
    model = write_model(tmp_path / "model", "albert")
    after = load(write_study(tmp_path, model, ratio), host=CPU).study.space
    assert restrict_space(before, "albert") == after != before
    assert restrict_space(before, "bert") is before


def test_a_type_that_is_known_later_must_run_some_setting(tmp_path: Path) -> None:
    space = load(write_study(tmp_path, "owner/unknown", "[0.25, 0.5]"), host=CPU).study.space
    with pytest.raises(UsageError, match="the model can run no setting of pruning_ratio"):
        restrict_space(space, "albert")


def test_the_types_are_the_families_of_the_encoder() -> None:
    assert set(LAYERED_TYPES) == set(FAMILIES)
