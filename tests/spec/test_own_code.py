"""Losses and scores that a study file names as ``module:function``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autotune import plugins
from autotune.domain.metrics import METRICS
from autotune.domain.registry import EXTENSIONS, import_object
from autotune.errors import SpecError, UsageError
from autotune.export.vendoring import script
from autotune.spec import load
from autotune.store.codec import study_fields
from autotune.trial.metrics import registered_scores
from tests.spec.hosts import CPU

CODE = """\
def keep_inputs(inputs):
    return inputs

def own_loss(logits, labels):
    raise NotImplementedError

class OwnModel:
    pass

def share_of_first(labels, predictions, label_names):
    return float((predictions == 0).mean())
"""
STUDY = """\
study: own
task:
  loss: my_functions:own_loss
  collator: my_functions:keep_inputs
  metrics: [my_functions:share_of_first]
objectives: [train_samples_per_second, share_of_first]
space: {batch_size: [16, 32], device: cpu}
budget: {trials: 2}
"""


@pytest.fixture(autouse=True)
def _clean_registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a test loads."""
    monkeypatch.setattr(plugins, "_loaded", set())
    names = set(METRICS)
    yield
    for name in set(METRICS) - names:
        METRICS.unregister(name)
    for module in [name for name in sys.modules if name.startswith(f"{EXTENSIONS}.")]:
        del sys.modules[module]


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies" / "my_functions.py").write_text(CODE, encoding="utf-8")
    path = tmp_path / "studies" / "own.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_a_module_beside_the_study_file_becomes_a_plug_in(study_file: Path) -> None:
    study = load(study_file, host=CPU).study
    file = str(study_file.parent / "my_functions.py")
    assert study.plugins == (file,)
    assert study.spec["plugins"] == [file], "a resumed search finds it without the folder"
    assert study.objectives[1].direction == "maximize"
    assert study.task.loss is not None
    assert import_object(study.task.loss).__name__ == "own_loss"
    labels = np.array([0, 1, 1, 0])
    (score,) = registered_scores(study.task.kind, labels, np.array([0, 0, 0, 1]), ("a", "b"))
    assert (score.name, score.value) == ("share_of_first", 0.75)


def test_changed_code_is_another_task(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(study_file, host=CPU).study
    assert study_fields(before) == study_fields(load(study_file, host=CPU).study)
    code = study_file.parent / "my_functions.py"
    code.write_text(CODE.replace("== 0", "!= 0"), encoding="utf-8")
    after = load(study_file, host=CPU).study
    assert study_fields(before)["fingerprint"] != study_fields(after)["fingerprint"]


def test_an_exported_folder_contains_the_module(study_file: Path) -> None:
    files = script("train_torchrun", "1.0", load(study_file, host=CPU).study.plugins)
    assert files["tuned/extensions/my_functions.py"] == CODE
    assert 'EXTENSIONS = "tuned.extensions"' in files["tuned/domain/registry.py"]


def test_levers_that_need_a_model_of_transformers_are_refused(study_file: Path) -> None:
    text = STUDY.replace("task:", "task:\n  model_class: my_functions:OwnModel")
    study_file.write_text(text, encoding="utf-8")
    study = load(study_file, host=CPU).study
    assert study.task.model_class == "my_functions:OwnModel"
    for lever, message in (
        ("parallelism: [none, 'ddp:2']", "the parts of task.model_class are not known"),
        ("model: [builtin:bert-tiny]", "task.model_class is a class for one model"),
        ("runtime: [torch, onnxruntime]", "a model of your own class is not deployed"),
    ):
        study_file.write_text(text.replace("space: {", f"space: {{{lever}, "), encoding="utf-8")
        with pytest.raises(SpecError, match=message):
            load(study_file, host=CPU)


@pytest.mark.parametrize(
    ("text", "replacement", "message"),
    [
        (
            ":own_loss",
            ":own_los",
            "my_functions.py has no function 'own_los'; did you mean own_loss",
        ),
        ("space: {", "space: {cache_activations: true, ", "not of what task.collator makes of it"),
        (":keep_inputs", ":keep_input", "has no function 'keep_input'; did you mean keep_inputs"),
        ("my_functions:own", "my_function:own", "no my_function.py beside the study file"),
        ("my_functions:share", "share", "named as module:function"),
        (":share_of_first", ":own_loss", "unknown metric 'share_of_first'"),
    ],
)
def test_mistakes(study_file: Path, text: str, replacement: str, message: str) -> None:
    study_file.write_text(STUDY.replace(text, replacement), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load(study_file, host=CPU)
    assert message in str(caught.value)


def test_a_score_is_a_share(study_file: Path) -> None:
    code = study_file.parent / "my_functions.py"
    code.write_text(CODE.replace(".mean()", ".sum()"), encoding="utf-8")
    load(study_file, host=CPU)
    with pytest.raises(UsageError, match="share_of_first is 2, not from 0 to 1"):
        registered_scores("text-classification", np.zeros(2, int), np.zeros(2, int), ("a", "b"))
