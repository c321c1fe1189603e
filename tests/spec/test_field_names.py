"""Names are text, whatever they look like; every file that ``init`` writes is valid."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autotune.errors import SpecError
from autotune.spec import load, starter, study_name
from autotune.spec.yaml import read, write, write_scalar
from tests.spec.hosts import CPU

FILE = "objectives: [accuracy]\nspace: {batch_size: [8]}\n"
NAMES = ("1234567", "12e4567", "007", "0x1F", "1.50", "true", "2024", "1e5")
SHIPPED = Path(__file__).parents[2] / "search_spaces" / "bert.yaml"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_keeps_its_spelling(name: str) -> None:
    text = f"study: {name}\ntask: {{model: {name}, dataset: {{train: {name}}}}}\n{FILE}"
    study = load(text, host=CPU).study
    assert (study.name, study.task.model, study.task.dataset) == (name, name, {"train": name})
    assert load(write(study.spec), host=CPU).study == study
    assert load(f"study: s\n{FILE}", host=CPU, overrides=[f"study={name}"]).study.name == name
    column = load(f"study: s\ntask: {{columns: {{text: {name}}}}}\n{FILE}", host=CPU)
    assert column.study.task.columns.text == name


def test_a_spelling_is_checked_as_any_name() -> None:
    with pytest.raises(SpecError, match="'-5' is not a name") as caught:
        load(f"study: -5\nrules: [{{exclude: 3}}]\n{FILE}", host=CPU)
    first = caught.value.mistakes[0]
    assert (first.line, first.column) == (1, 8)


STEMS = (*NAMES, "my study", "café", "null", "~", "on", "日本", "-a", "a: b", "x" * 300, "#1", "'")


@pytest.mark.parametrize("stem", STEMS)
def test_every_starter_is_valid(stem: str) -> None:
    name = study_name(stem)
    study = load(starter(name), host=CPU).study
    assert study.name == name
    assert load(write(study.spec), host=CPU).study == study


def test_names_of_files_become_names_of_studies() -> None:
    names = {stem: study_name(stem) for stem in ("2024", "my study", "café", "日本", ".a")}
    assert list(names.values()) == ["2024", "my-study", "cafe", "my-study", "a"]


@pytest.mark.parametrize(
    "text", ["on", "null", "12e4567", "a: b", "é\u2028x", "", " a ", "#", '"\\']
)
def test_text_that_is_written_is_read_again(text: str) -> None:
    assert read(write({"key": text}), "").data == {"key": text}
    assert read(f"key: {write_scalar(text)}\n", "").data == {"key": text}


def test_the_starter_has_what_the_shipped_study_has() -> None:
    """Same sections and levers, and a cap on the data only below a comment."""
    shipped, text = yaml.safe_load(SHIPPED.read_text(encoding="utf-8")), starter()
    own = yaml.safe_load(text)
    assert own.keys() == shipped.keys()
    assert own["space"].keys() == shipped["space"].keys()
    assert own["start_with"] == shipped["start_with"]
    lines = text.splitlines()
    assert "CAP" in lines[next(i for i, x in enumerate(lines) if "train_samples: 8" in x) - 2]
