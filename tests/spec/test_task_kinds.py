"""Tasks of all kinds in study files: names of data sets, columns, options, and the examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.domain import Columns, Task
from autotune.errors import SpecError
from autotune.spec import load
from tests.spec.hosts import CPU

EXAMPLES = sorted((Path(__file__).parents[2] / "search_spaces" / "examples").glob("*.yaml"))

PAIR = Columns("premise", "hypothesis", "label")


def task(section: str, objective: str = "loss") -> Task:
    text = f"study: s\nobjectives: [{objective}]\nspace: {{batch_size: [8]}}\ntask: {section}\n"
    return load(text, host=CPU).study.task


@pytest.mark.parametrize(
    ("section", "kind", "columns"),
    [
        ("{dataset: glue/mnli}", "text-classification", PAIR),
        ("{dataset: {hub: glue/mnli, validation: v}}", "text-classification", PAIR),
        ("{dataset: glue/stsb}", "regression", Columns("sentence1", "sentence2", "label")),
        (
            "{dataset: glue/stsb, columns: {label: score}}",
            "regression",
            Columns("sentence1", "sentence2", "score"),
        ),
        ("{dataset: conll2003}", "token-classification", Columns("tokens", None, "ner_tags")),
        ("{dataset: squad}", "question-answering", Columns("question", "context", "answers")),
        (
            "{kind: question-answering, columns: {text: ask}}",
            "question-answering",
            Columns("ask", "context", "answers"),
        ),
        ("{dataset: owner/other}", "text-classification", Columns()),
    ],
)
def test_names_of_data_sets_give_kind_and_columns(
    section: str, kind: str, columns: Columns
) -> None:
    resolved = task(section)
    assert (resolved.kind, resolved.columns) == (kind, columns)


def test_options_of_the_loss_and_of_the_length() -> None:
    assert task("{max_length: auto}").max_length is None
    assert task("{class_weights: balanced}").class_weights == "balanced"
    assert task("{kind: multi-label, threshold: 0.3}").threshold == 0.3
    assert task("{kind: question-answering, threshold: auto}").threshold == "auto"
    assert task("{class_weights: {rare: 5}}").class_weights == {"rare": 5.0}
    assert task("{labels: [bad, good]}").labels == ("bad", "good")
    assert task("{loss: 'statistics:fmean'}").loss == "statistics:fmean"
    assert task("{stride: 64}").stride == task("{dataset: squad, stride: 64}").stride == 64


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{kind: regression, class_weights: balanced}", "has no classes to weigh"),
        ("{threshold: auto}", "text-classification have no threshold; remove threshold"),
        ("{kind: multi-label, threshold: 1.5}", "1.5 is not between 0 and 1"),
        ("{class_weights: balanced, loss: 'a:b'}", "your own loss weighs the labels itself"),
        ("{class_weights: {rare: 0}}", "greater than 0"),
        ("{kind: token-classification, stride: 64}", "token-classification has no windows"),
        ("{loss: focal}", "no plug-in registers the loss 'focal'"),
        ("{labels: [only]}", "name two or more different labels"),
        ("{labels: [a, b, a]}", "name two or more different labels"),
        ("{kind: regression, labels: [a, b]}", "labels of regression have no names"),
        ("{max_length: 2}", "at least 4"),
        ("{teacher: hub/model}", "no trial learns from it"),
    ],
)
def test_options_that_a_kind_does_not_have(section: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        task(section)


DISTILLED = """
study: s
objectives: [loss]
task: {kind: text-classification}
space: {distillation: [0, 0.5], distillation_temperature: [1, 2]}
"""


def test_models_that_teach_others_are_kept() -> None:
    study = load(DISTILLED, host=CPU).study
    assert study.has_own_teacher and study.keep.models == "front" and study.keeps_models
    named = DISTILLED.replace("kind: text-classification", "teacher: hub/model")
    study = load(f"{named}start_with: [{{distillation: 0.5}}]\n", host=CPU).study
    assert study.task.teacher == "hub/model" and not study.has_own_teacher
    assert study.keep.models == "none"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("text-classification", "question-answering", "question-answering cannot be distilled"),
        ("space", "keep: none\nspace", "a model of the study is the teacher of others"),
        ("space", "baseline: {distillation: 0.5}\nspace", "there is no teacher yet when it runs"),
        (
            "distillation: [0, 0.5], distillation_temperature: [1, 2]}",
            "distillation: 0.5}\nstart_with: [{batch_size: 16}]",
            "there is no teacher yet when it runs",
        ),
    ],
)
def test_distillation_that_cannot_run(old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(DISTILLED.replace(old, new), host=CPU)


def test_scores_of_another_kind_cannot_be_objectives() -> None:
    assert task("{kind: regression}", "pearson").kind == "regression"
    with pytest.raises(SpecError, match="accuracy cannot be measured here"):
        task("{kind: regression}", "accuracy")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_need_no_network(path: Path) -> None:
    study = load(path, host=CPU).study
    assert study.name == path.stem
    assert study.task.model == "builtin:minilm" and str(study.task.dataset).startswith("builtin:")
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=../schema")


def test_there_is_an_example_of_each_kind() -> None:
    kinds = {load(path, host=CPU).study.task.kind for path in EXAMPLES}
    assert kinds == {"text-classification", "regression", "multi-label", "question-answering"}
